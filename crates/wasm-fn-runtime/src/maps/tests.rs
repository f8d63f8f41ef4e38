//! How a line of the kernel's is taken apart.

use super::*;

#[test]
fn mappings_are_told_with_their_files() {
    let maps = "\
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
7f0000200000-7f0000201000 r--p 0001e000 fe:00 326279                     /usr/lib/two words.so
7f0000300000-7f0000301000 rw-s 00000000 00:01 12                         /memfd:code (deleted)
";
    let mapping =
        |range, is_private_data, offset, inode, path| Mapping { range, is_private_data, offset, inode, path };
    assert_eq!(
        mappings(maps).collect::<Vec<_>>(),
        [
            mapping(0x7f00_0000_0000..0x7f00_0020_0000, true, 0, 0, ""),
            mapping(0x7f00_0020_0000..0x7f00_0020_1000, false, 0x1e000, 326_279, "/usr/lib/two words.so"),
            mapping(0x7f00_0030_0000..0x7f00_0030_1000, false, 0, 12, "/memfd:code (deleted)"),
        ]
    );
}

#[test]
fn what_is_no_mapping_is_left_out() {
    assert_eq!(mappings("\n7f00-\n7f0g-8000 rw-p 0 00:00 0\nrw-p\n").count(), 0);
}

#[test]
fn this_process_is_listed() {
    let here = 0_u8;
    let address = (&raw const here).addr();
    let maps = read().unwrap();
    let around = mappings(&maps).find(|mapping| mapping.range.contains(&address)).unwrap();
    assert!(around.is_private_data, "{around:?}");
}

#[test]
fn a_page_has_the_size_that_the_vector_says() {
    let vector = |words: &[usize]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
    assert_eq!(page_size(&vector(&[33, 6, 6, 4096, 0, 0])), Some(4096));
    assert_eq!(page_size(&vector(&[33, 6, 0, 0])), None);
    assert_eq!(page_size(&vector(&[6, 0])), None);
    assert_eq!(page_size(&vector(&[6])), None);
    assert!(page_bytes().unwrap() >= 4096);
}
