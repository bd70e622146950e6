//! The figures, side by side.

use super::{EngineArgs, Measured};

/// Prints a case: CPU per request, and ratios to haproxy and Envoy of the same round.
pub fn print(args: &EngineArgs, measured: &Measured) {
    let case = measured.case;
    let streams = if case.streams > 1 { format!(" × {} streams", case.streams) } else { String::new() };
    println!(
        "\n{} ({}): {} connections{streams}, {} rounds of {} s; CPU µs per request, median (min–max); ratios of the same round",
        case.title, case.name, case.connections, args.rounds, args.seconds
    );
    println!("{:<10} {:>22} {:>22} {:>22}", "", "µs", "to haproxy", "to envoy");
    for (name, micros) in &measured.micros {
        println!(
            "{name:<10} {:>22} {:>22} {:>22}",
            shown(micros, 1, ""),
            ratio(measured, micros, "haproxy"),
            ratio(measured, micros, "envoy")
        );
    }
    for (peer, goal) in ["haproxy", "envoy"].into_iter().zip(case.goals) {
        if let (Some(goal), Some(ratios)) = (goal, of(measured, "foregate").and_then(|own| ratios(measured, own, peer)))
        {
            let median = spread(&ratios)[1];
            let verdict = if median <= goal { "reached" } else { "missed" };
            println!("goal: foregate at most {goal}x {peer}: {verdict} ({median:.2}x)");
        }
    }
}

fn of<'a>(measured: &'a Measured, name: &str) -> Option<&'a [f64]> {
    measured.micros.iter().find(|(peer, _)| *peer == name).map(|(_, micros)| micros.as_slice())
}

/// Round by round, so that what slows a whole round cancels out.
fn ratios(measured: &Measured, own: &[f64], base: &str) -> Option<Vec<f64>> {
    Some(own.iter().zip(of(measured, base)?).map(|(own, base)| own / base).collect())
}

fn ratio(measured: &Measured, own: &[f64], base: &str) -> String {
    ratios(measured, own, base).map_or_else(|| "-".to_owned(), |ratios| shown(&ratios, 2, "x"))
}

fn shown(values: &[f64], digits: usize, unit: &str) -> String {
    let [least, median, greatest] = spread(values);
    format!("{median:.digits$}{unit} ({least:.digits$}–{greatest:.digits$})")
}

/// Least, median and greatest.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}
