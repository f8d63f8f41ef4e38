//! Facts about headers of archives.

use super::*;

/// The largest size that a header has in octal digits.
const OCTAL_MAX: u64 = (1 << 33) - 1;

fn header(name: &str, bytes: u64) -> MemberHeader {
    MemberHeader { name: name.to_owned(), bytes }
}

#[test]
fn headers_are_read_as_they_were_written() {
    let blob = BackupManifest::component_name(&"0".repeat(64));
    for header in [
        header(BackupManifest::NAME, 0),
        header(BackupManifest::STATE, 1),
        header(&blob, OCTAL_MAX),
        header(&blob, OCTAL_MAX + 1),
        header(&"x".repeat(100), u64::MAX),
    ] {
        let block = header.to_block(1_764_000_000);
        assert_eq!(MemberHeader::parse(&block), Ok(Some(header)));
    }
}

#[test]
fn header_with_a_changed_byte_is_none() {
    let block = header("state.redb", 1 << 20).to_block(0);
    for at in 0..BLOCK_BYTES {
        let mut changed = block;
        changed[at] ^= 0x40;
        assert_eq!(MemberHeader::parse(&changed), Err(NoHeader), "byte {at}");
    }
}

#[test]
fn links_and_folders_are_no_files() {
    for kind in *b"1235xgL" {
        let mut header = Header::from_byte_slice(&header("state.redb", 0).to_block(0)).clone();
        header.set_entry_type(EntryType::new(kind));
        header.set_cksum();
        assert_eq!(MemberHeader::parse(header.as_bytes()), Err(NoHeader), "{kind}");
    }
    assert_eq!(MemberHeader::parse(&[0; BLOCK_BYTES]), Ok(None));
}

#[test]
fn contents_fill_whole_blocks() {
    let padded = [0, 1, 511, 512, 513, u64::MAX].map(MemberHeader::padding);
    assert_eq!(padded, [0, 511, 1, 0, 511, 1]);
}
