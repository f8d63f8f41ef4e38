//! Copies are whole and in order, whatever their size, and stay as they are.

use std::os::fd::AsRawFd as _;

use super::*;

/// Bytes that differ from one piece to the next.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at / 1000 * 7 + at).to_le_bytes()[0]).collect()
}

#[test]
fn a_copy_has_the_range_and_every_piece_is_seen_in_its_order() {
    for count in
        [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 4 * PIECES_PER_THREAD * PIECE_BYTES + 5]
    {
        let source = bytes(count + 30);
        let range = 10..10 + count;
        let (sealed, seen) = Sealed::copy("test", &source, range.clone(), <[u8]>::to_vec).unwrap();
        assert_eq!(sealed.bytes(), count);
        let mut copied = vec![0; count];
        let file = File::from(OwnedFd::from(sealed));
        file.read_exact_at(&mut copied, 0).unwrap();
        assert!(copied == source[range.clone()], "{count} bytes");
        assert_eq!(file.metadata().unwrap().len(), count as u64);
        assert!(seen.iter().map(Vec::as_slice).eq(pieces(&source[range])), "{count} bytes");
    }
}

#[test]
fn nobody_changes_a_copy() {
    let source = bytes(5000);
    let (sealed, _) = Sealed::copy("test", &source, 0..5000, |_| ()).unwrap();
    let path = format!("/proc/self/fd/{}", sealed.as_fd().as_raw_fd());
    let again = File::options().read(true).write(true).open(path).unwrap();
    again.write_at(&[1], 0).unwrap_err();
    again.set_len(4999).unwrap_err();
    again.set_len(5001).unwrap_err();
}

#[test]
fn a_source_that_ends_before_the_range_is_refused() {
    let source = bytes(PIECES_PER_THREAD * PIECE_BYTES * 4);
    let range = 1..source.len() + 1;
    let error = Sealed::copy("test", &source, range, |_| ()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn small_ones_are_copied_by_the_caller_alone() {
    assert_eq!(threads(0), 1);
    assert_eq!(threads(2 * PIECES_PER_THREAD - 1), 1);
    assert!((1..=THREADS_MAX).contains(&threads(1 << 20)));
}
