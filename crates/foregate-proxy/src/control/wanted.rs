//! Which resources are subscribed to: those that something names, counted.

use std::collections::HashMap;

/// Names of one kind, and how many name each.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    counts: HashMap<String, usize>,
    touched: HashMap<String, bool>,
}

impl Wanted {
    /// One more names it.
    pub(super) fn add(&mut self, name: &str) {
        let count = self.counts.entry(name.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            self.touched.entry(name.to_owned()).or_insert(false);
        }
    }

    /// One fewer names it.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(count) = self.counts.get_mut(name) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(name);
            self.touched.entry(name.to_owned()).or_insert(true);
        }
    }

    /// Whether anything names it.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.counts.contains_key(name)
    }

    /// Names that are new and names that are gone since it was asked last.
    pub(super) fn changes(&mut self) -> (Vec<String>, Vec<String>) {
        let mut changes = (Vec::new(), Vec::new());
        for (name, before) in self.touched.drain() {
            match (before, self.counts.contains_key(&name)) {
                (false, true) => changes.0.push(name),
                (true, false) => changes.1.push(name),
                _ => {}
            }
        }
        changes.0.sort_unstable();
        changes.1.sort_unstable();
        changes
    }

    /// All names, for a new stream.
    pub(super) fn all(&mut self) -> Vec<String> {
        self.touched.clear();
        let mut names: Vec<String> = self.counts.keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_are_told() {
        let mut wanted = Wanted::default();
        wanted.add("a");
        wanted.add("a");
        wanted.add("b");
        wanted.remove("b");
        assert_eq!(wanted.changes(), (vec!["a".to_owned()], vec![]));
        wanted.remove("a");
        assert_eq!(wanted.changes(), (vec![], vec![]));
        wanted.remove("a");
        wanted.add("a");
        assert_eq!(wanted.changes(), (vec![], vec![]));
        wanted.remove("a");
        assert_eq!(wanted.changes(), (vec![], vec!["a".to_owned()]));
        assert!(!wanted.contains("a"));
    }
}
