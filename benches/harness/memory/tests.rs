//! Reading the kernel's books.

use super::*;

const SMAPS: &str = "\
00400000-00500000 r--p 00000000 fd:00 7 /usr/bin/one
Size:               1024 kB
Rss:                2048 kB
Pss:                 300 kB
00600000-00700000 rw-p 00000000 00:00 0 [heap]
Rss:                1023 kB
00800000-00900000 rw-p 00000000 00:00 0
Rss:                   0 kB
VmFlags: rd wr mr-me
00a00000-00b00000 rw-p 00000000 00:00 0 [stack]
Rss:                  12 kB
";

#[test]
fn large_mappings_are_listed_and_small_ones_added_up() {
    let expected =
        "     2048 KiB  00400000-00500000 r--p 00000000 fd:00 7 /usr/bin/one\n     1035 KiB  in 2 others";
    assert_eq!(listing(SMAPS), expected);
}

#[test]
fn fields_are_of_kibibytes() {
    assert_eq!(field_bytes("Name: x\nVmHWM:\t    12 kB\nVmRSS:\t 3 kB\n", "VmHWM:").unwrap(), 12 * 1024);
    let error = field_bytes("Name: x\n", "VmHWM:").unwrap_err().to_string();
    assert_eq!(error, "there is no `VmHWM:` of a process that is alive");
}

#[test]
fn own_memory_is_resident_and_listed() {
    let memory = Memory::of(std::process::id());
    assert!(memory.resident_bytes().unwrap() > 0);
    assert!(memory.peak_bytes().unwrap() > 0);
    assert!(memory.mappings().unwrap().ends_with(" others"));
}
