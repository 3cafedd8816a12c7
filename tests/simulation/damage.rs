//! Bytes that go bad where they were durable: never taken for a torn end, never shown as data.

use super::life::quiet;
use super::story::Story;
use super::tally::Seen;
use crate::support::files::content;
use crate::support::rng::Rng;
use crate::support::sim::{Policy, SimDisk};
use perennial::Error;
use perennial::file::{Access, Directory};
use perennial::storage::file::Mode;

/// Damages something below `proven`, which a frame that is there claims to be durable, or in the
/// index snapshot, and opens the file.
pub fn damage(disk: &SimDisk, name: &str, proven: u64, story: &Story, rng: &mut Rng) {
    Seen::Damage.note();
    let disk = disk.crash(Policy::Everything, 0);
    let index = format!("{name}.index");
    match content(&disk, &index) {
        Some(bytes) if rng.below(3) == 0 => spoil(&disk, &index, bytes.len() as u64, rng),
        _ => spoil(&disk, name, proven, rng),
    }
    let before = content(&disk, name);
    match quiet(&disk, name, Mode::OpenOrCreate) {
        Ok(storage) => story.shown_despite_damage(&storage),
        Err(error) => {
            let told =
                matches!(error, Error::Damaged(_) | Error::Corrupt(_) | Error::NotADatabase(_));
            assert!(told, "damage is called something else: {error:?}");
            assert!(content(&disk, name) == before, "a damaged file was changed: {error}");
        }
    }
}

/// Flips a bit, or makes noise or zeros of a sector.
fn spoil(disk: &SimDisk, name: &str, below: u64, rng: &mut Rng) {
    let file = disk.open(name, Access::Write).expect("it is there");
    let at = rng.below(below);
    let mut sector = vec![0; (below - at).min(512) as usize];
    match rng.below(3) {
        0 => sector.iter_mut().for_each(|byte| *byte = rng.number() as u8),
        1 => {}
        _ => {
            sector.truncate(1);
            file.read_at(at, &mut sector).expect("it can be read");
            sector[0] ^= 1 << rng.below(8);
        }
    }
    file.append(at, &sector).expect("it can be written");
    file.sync().expect("and synced");
}
