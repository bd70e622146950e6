//! The terminal while `top` has it.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::rows::{self, Row};
use crate::cli::error::CliError;
use crate::cli::table::{DIM, HEADING, styled};

/// The other screen, no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal, given back as it was when dropped.
pub struct Screen {
    /// None: stdin isn't a terminal, and no key can be read.
    before: Option<Termios>,
}

fn lost(error: std::io::Error) -> CliError {
    CliError::failed("the terminal can't be used", "try --samples N").because(error)
}

impl Screen {
    /// Takes the terminal: keys are read one by one, and not shown.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn open() -> Result<Self, CliError> {
        let stdin = std::io::stdin();
        let mut before = None;
        if stdin.is_terminal() {
            let was = tcgetattr(&stdin).map_err(|error| lost(error.into()))?;
            let mut raw = was.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(|error| lost(error.into()))?;
            before = Some(was);
        }
        write(ENTER)?;
        Ok(Self { before })
    }

    /// Draws everything anew; what doesn't fit is left out.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, heading: &str, rows: &[Row]) -> Result<(), CliError> {
        let size = tcgetwinsize(std::io::stdout()).ok();
        let (columns, lines) = size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let title = format!("{}  {heading}", styled(HEADING, "foregate top"));
        let table = if heading.is_empty() { "measuring…\n".to_owned() } else { rows::table(rows, Some(columns)) };
        let mut text = String::from("\x1b[H");
        let shown = std::iter::once(title.as_str()).chain([""]).chain(table.lines()).take(lines.saturating_sub(2));
        for line in shown {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str(&format!("{}\x1b[J", styled(DIM, "q quits")));
        write(&text)
    }

    /// Waits; whether `q` or Ctrl-C was pressed meanwhile.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn quit_within(&self, time: Duration) -> Result<bool, CliError> {
        if self.before.is_none() {
            tokio::time::sleep(time).await;
            return Ok(false);
        }
        let waited = tokio::task::spawn_blocking(move || keys(time)).await;
        waited.map_err(|error| lost(std::io::Error::other(error)))?.map_err(lost)
    }
}

fn keys(time: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + time;
    let stdin = std::io::stdin();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => {
                let mut key = [0; 16];
                let read = rustix::io::read(&stdin, &mut key)?;
                // q, Q, Ctrl-C, Ctrl-D; nothing at all: the terminal is gone.
                if read == 0 || key.iter().take(read).any(|key| matches!(key, b'q' | b'Q' | 3 | 4)) {
                    return Ok(true);
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(lost)
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
