//! Writes the seeds of the fuzz targets anew: `cargo run --example seeds`, in the folder `fuzz`.
//!
//! The bytes are the same in every run, but where the format or the story changed.

use perennial::format::{FIRST_FRAME, FileHeader, FrameHeader, IndexHeader};
use perennial_fuzz::files::{INDEX, NAME};
use perennial_fuzz::story::Story;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let story = Story::get();
    let write = |target: &str, name: &str, choice: u8, bytes: &[u8]| {
        let folder = seeds.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), [&[choice], bytes].concat())
    };
    let last = &story.moments.last().expect("there are some")[NAME];
    let log = &last[FIRST_FRAME as usize..];
    frames(log, |number, kind, frame| {
        write("frame", &format!("frame-{number}-{kind}"), 134, frame)
    })?;
    write("frame", "file-header", 132, &last[..FileHeader::LEN])?;
    let index = &story.closed[INDEX];
    write("frame", "index-header", 133, &index[..IndexHeader::LEN])?;
    write("frame", "tables", 2 + 2 * 8, &index[3 * 4096..])?;
    write("frame", "numbers", 0, &[0, 1, 0x80, 1, 3, 7, 8, 9])?;

    write("file", "whole", 0, &story.moments[1][NAME])?;
    write("file", "whole-forged", 64, &story.moments[1][NAME])?;
    for (number, files) in story.moments.iter().enumerate() {
        let log = &files[NAME][FIRST_FRAME as usize..];
        let log = &log[..log.iter().rposition(|&byte| byte != 0).map_or(0, |it| it + 1)];
        write("file", &format!("log-{number}"), 65, log)?;
        write("file", &format!("edits-{number}"), 2, &[number as u8, 0, 0, 0])?;
        write("file", &format!("edits-forged-{number}"), 66, &[number as u8, 0, 0, 0])?;
        write("file", &format!("edits-mapped-{number}"), 162, &[number as u8, 0, 0, 0])?;
    }
    write("index", "whole", 0, index)?;
    for number in 0..=(story.snapshots.len() + story.strangers.len()) as u8 {
        write("index", &format!("edits-{number}"), 1, &[number, 0, 0, 0])?;
        write("index", &format!("edits-forged-{number}"), 65, &[number, 0, 0, 0])?;
        write("index", &format!("edits-closed-{number}"), 33, &[number, 0, 0, 0])?;
    }
    Ok(())
}

/// Calls back with every frame of a log.
fn frames(
    log: &[u8],
    mut each: impl FnMut(usize, u32, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (mut at, sums) = (0, Story::get().sums());
    for number in 0.. {
        let rest = &log[at..];
        let header =
            rest.first_chunk().map(|it| FrameHeader::decode(&sums, FIRST_FRAME + at as u64, it));
        let Some(Ok(header)) = header else { break };
        let length = header.frame_len().expect("it is good") as usize;
        each(number, header.kind.number(), &rest[..length])?;
        at += length;
    }
    Ok(())
}
