//! Names that the server makes.

use rand::Rng;

/// A name for `generateName`.
pub(crate) fn generate(prefix: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    let tail = (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    let prefix: String = prefix.chars().take(58).collect();
    prefix.chars().chain(tail).collect()
}
