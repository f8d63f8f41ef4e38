//! Attacks while the kernel does what it may do behind a process's back: it swaps pages out, keeps them
//! compressed, joins them to huge ones, and shares those with the same bytes.
//!
//! The settings are the machine's, so each test changes them, runs itself in a process of its own, and sets
//! them back. Where it may not, or the kernel cannot, it is skipped by name.

use std::{
    fs::{self, OpenOptions},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::Command,
    ptr,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous},
};

use super::*;

/// Says to a test that it runs in a process of its own.
const ALONE: &str = "WASM_FN_ATTACK_ALONE";

/// Longest time for the kernel to look at all pages once.
const PASS_MAX: Duration = Duration::from_secs(10);

const SWAP_BYTES: usize = 32 << 20;

/// Joins pages to huge ones (Linux 6.1).
const MADV_COLLAPSE: libc::c_int = 25;

const HUGE: &str = "/sys/kernel/mm/transparent_hugepage";
const MERGING: &str = "/sys/kernel/mm/ksm";
const COMPRESSED: &str = "/sys/module/zswap/parameters/enabled";

/// Lists a test as skipped. Never a failure: no program that could be installed is missing.
pub(super) fn skip(test: &str, why: &str) {
    let line = format!("skipped {test}: {why}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("CI_SKIPPED_TESTS").map(PathBuf::from) {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
    }
}

fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs the test `name` of `module` in a process of its own, and returns true, unless this is that process.
pub(super) fn alone(module: &str, name: &str) -> bool {
    if is_alone() {
        return false;
    }
    let (_, path) = module.split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{path}::{name}"), "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.env(ALONE, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
    print!("{out}");
    true
}

/// Settings of the machine. Dropping it sets them back.
struct Machine {
    settings: Vec<(PathBuf, String)>,
    swap: Option<PathBuf>,
    // Whoever has it may change the settings.
    _lock: File,
}

impl Machine {
    fn lock() -> Self {
        let path = std::env::temp_dir().join("wasm-fn-machine.lock");
        let lock = OpenOptions::new().create(true).append(true).open(path).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        Self { settings: Vec::new(), swap: None, _lock: lock }
    }

    fn set(&mut self, path: &str, value: &str) -> std::io::Result<()> {
        let before = fs::read_to_string(path)?;
        // Of a choice, the one that is made stands in brackets.
        let chosen = before.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.map_or(before.trim(), |(chosen, _)| chosen).to_owned();
        fs::write(path, value)?;
        self.settings.push((path.into(), before));
        Ok(())
    }

    /// Adds room to swap pages out to.
    fn swap(&mut self) -> std::io::Result<()> {
        let path = std::env::temp_dir().join(format!("wasm-fn-swap-{}", std::process::id()));
        let mut bytes = vec![0; SWAP_BYTES];
        // The header of `linux/swap.h`: its version, its last page, no bad pages; and a mark at the end.
        let last = u32::try_from(SWAP_BYTES / PAGE - 1).unwrap();
        bytes[1024..1028].copy_from_slice(&1_u32.to_ne_bytes());
        bytes[1028..1032].copy_from_slice(&last.to_ne_bytes());
        bytes[PAGE - 10..PAGE].copy_from_slice(b"SWAPSPACE2");
        fs::write(&path, bytes)?;
        File::open(&path)?.sync_all()?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        self.swap = Some(path.clone());
        switch_swap(&path, true)
    }
}

#[expect(unsafe_code, reason = "the calls have no safe interface")]
fn switch_swap(path: &std::path::Path, on: bool) -> std::io::Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string of C.
    let failed = unsafe { if on { libc::swapon(path.as_ptr(), 0) } else { libc::swapoff(path.as_ptr()) } };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for (path, before) in self.settings.iter().rev() {
            fs::write(path, before).unwrap();
        }
        if let Some(path) = self.swap.take() {
            // It may not be on.
            let _ = switch_swap(&path, false);
            fs::remove_file(path).unwrap();
        }
    }
}

/// Counts a kernel thread's looks at all pages.
struct Passes(&'static str);

impl Passes {
    fn count(&self) -> u64 {
        fs::read_to_string(self.0).unwrap().trim().parse().unwrap()
    }

    /// Waits until all pages that are there now were looked at. Returns whether that happened in time.
    #[expect(clippy::disallowed_methods, reason = "a kernel thread does not say when it is done")]
    fn wait(&self) -> bool {
        let (begun, until) = (Instant::now(), self.count() + 2);
        while self.count() < until {
            if begun.elapsed() > PASS_MAX {
                return false;
            }
            thread::yield_now();
        }
        true
    }
}

/// Anonymous memory of the process that is no guest's, of which each page is the process's own.
#[expect(unsafe_code, reason = "it stands for what is not a guest's")]
fn other_memory(bytes: usize) -> usize {
    let flags = MapFlags::PRIVATE;
    // SAFETY: the system chooses addresses that nobody has, and nobody else writes there.
    unsafe {
        let start = mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags);
        let start = start.unwrap();
        ptr::write_bytes(start.cast::<u8>(), 7, bytes);
        start.expose_provenance()
    }
}

/// The lines that the kernel has on the mappings of `range`.
fn mappings(range: &std::ops::Range<usize>) -> Vec<String> {
    let mut is_within = false;
    let mut lines = Vec::new();
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let bounds = line.split(' ').next().and_then(|bounds| bounds.split_once('-'));
        let bound = |text| usize::from_str_radix(text, 16).ok();
        if let Some((start, end)) = bounds.and_then(|(start, end)| Some((bound(start)?, bound(end)?))) {
            is_within = start < range.end && end > range.start;
        } else if is_within {
            lines.push(line.to_owned());
        }
    }
    lines
}

fn huge_kib(range: &std::ops::Range<usize>) -> u64 {
    let lines = mappings(range);
    let huge = lines.iter().filter_map(|line| line.strip_prefix("AnonHugePages:"));
    huge.map(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap()).sum()
}

/// The addresses of all memories of `node`.
fn addresses(node: &Node, slots: usize) -> std::ops::Range<usize> {
    let start = node.memories.cleaner.area.start();
    start..start + slots * (SLOT_BYTES + GUARD_BYTES)
}

/// Runs an attack in every reset: a guest writes, `meanwhile` happens while it lives and when it is gone, and
/// a quiet guest and the witness follow.
fn attack_while(meanwhile: impl Fn(&Node, usize, usize)) {
    for reset in RESETS {
        let node = audited(1, reset);
        let (image, mut numbers) = (node.image(3), Numbers(0x5eed));
        for run in 0..runs() {
            let mut guest = node.guest(&image).unwrap();
            grow(&mut guest, 64);
            let (address, bytes) = (guest.address(), guest.memory.data_size(&guest.store));
            for _ in 0..32 {
                guest.write(numbers.below(bytes));
            }
            meanwhile(&node, run, address);
            guest.write(numbers.below(bytes));
            drop(guest);
            meanwhile(&node, run, address);
            drop(node.guest(&image).unwrap());
            node.guest(&image).unwrap().check(Some(3));
        }
        let Isolation { reset: now, faults, .. } = node.memories.isolation();
        assert_eq!((now, faults), (reset, 0));
    }
}

fn swapped(address: usize) -> usize {
    let page_map = File::open("/proc/self/pagemap").unwrap();
    let is_swapped = |page: usize| {
        let mut entry = [0; 8];
        page_map.read_exact_at(&mut entry, ((address / PAGE + page) * 8) as u64).unwrap();
        u64::from_ne_bytes(entry) & (1 << 62) != 0
    };
    (0..BYTES / PAGE + 1024).filter(|&page| is_swapped(page)).count()
}

fn attack_while_swapping() {
    let seen = std::cell::Cell::new(0);
    attack_while(|_, _, address| {
        // SAFETY: this changes no byte.
        #[expect(unsafe_code, reason = "it is given addresses")]
        let paged_out = unsafe {
            let start = ptr::with_exposed_provenance_mut(address);
            madvise(start, BYTES + (4 << 20), Advice::LinuxPageOut)
        };
        paged_out.unwrap();
        seen.set(seen.get() + swapped(address));
    });
    println!("{} times a page was swapped out", seen.get());
    assert!(seen.get() > 0, "no page was swapped out");
}

#[test]
fn while_pages_are_swapped_out() {
    if is_alone() {
        return attack_while_swapping();
    }
    let mut machine = Machine::lock();
    let off = if fs::exists(COMPRESSED).unwrap() { machine.set(COMPRESSED, "N") } else { Ok(()) };
    if let Err(error) = off.and_then(|()| machine.swap()) {
        return skip("attacks while pages are swapped out", &error.to_string());
    }
    assert!(alone(module_path!(), "while_pages_are_swapped_out"));
}

#[test]
fn while_pages_are_kept_compressed() {
    if is_alone() {
        return attack_while_swapping();
    }
    let mut machine = Machine::lock();
    if let Err(error) = machine.set(COMPRESSED, "Y").and_then(|()| machine.swap()) {
        return skip("attacks while pages are kept compressed", &error.to_string());
    }
    assert!(alone(module_path!(), "while_pages_are_kept_compressed"));
}

#[test]
fn while_all_pages_may_be_huge() {
    if !is_alone() {
        let mut machine = Machine::lock();
        let settings = [
            ("enabled", "always"),
            ("khugepaged/scan_sleep_millisecs", "0"),
            ("khugepaged/alloc_sleep_millisecs", "0"),
            ("khugepaged/pages_to_scan", "100000"),
        ];
        let set = settings.iter().try_for_each(|(name, value)| machine.set(&format!("{HUGE}/{name}"), value));
        if let Err(error) = set {
            return skip("attacks while all pages may be huge", &error.to_string());
        }
        assert!(alone(module_path!(), "while_all_pages_may_be_huge"));
        return;
    }
    let bytes = 8 << 20;
    let other = other_memory(bytes);
    if huge_kib(&(other..other + bytes)) == 0 {
        return skip("attacks while all pages may be huge", "the system has no huge pages left");
    }
    attack_while(|node, _, address| {
        // What the kernel does in the background as soon as it comes round to it.
        // SAFETY: this changes no byte.
        #[expect(unsafe_code, reason = "it is given addresses")]
        let refused =
            unsafe { libc::madvise(ptr::with_exposed_provenance_mut(address), 4 << 20, MADV_COLLAPSE) };
        assert_ne!(refused, 0);
        assert_eq!(huge_kib(&addresses(node, 1)), 0);
    });
}

#[test]
fn while_pages_with_the_same_bytes_are_shared() {
    const PR_SET_MEMORY_MERGE: libc::c_int = 67;
    let what = "attacks while pages with the same bytes are shared";
    if !is_alone() {
        let mut machine = Machine::lock();
        let settings = [("sleep_millisecs", "0"), ("pages_to_scan", "100000"), ("run", "1")];
        let set =
            settings.iter().try_for_each(|(name, value)| machine.set(&format!("{MERGING}/{name}"), value));
        if let Err(error) = set {
            return skip(what, &error.to_string());
        }
        assert!(alone(module_path!(), "while_pages_with_the_same_bytes_are_shared"));
        return;
    }
    // As systemd's MemoryKSM= does before it starts a service.
    // SAFETY: this changes no byte.
    #[expect(unsafe_code, reason = "the call has no safe interface")]
    let failed = unsafe { libc::prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) };
    if failed != 0 {
        return skip(what, &std::io::Error::last_os_error().to_string());
    }
    other_memory(1 << 20);
    let passes = Passes("/sys/kernel/mm/ksm/full_scans");
    let shared =
        || fs::read_to_string("/proc/self/ksm_merging_pages").unwrap().trim().parse::<u64>().unwrap();
    if !passes.wait() || shared() == 0 {
        return skip(what, "the kernel is too slow");
    }
    attack_while(|node, run, _| {
        if run == 0 {
            passes.wait();
        }
        let lines = mappings(&addresses(node, 1));
        let flags: Vec<_> = lines.iter().filter(|line| line.starts_with("VmFlags:")).collect();
        assert!(!flags.is_empty() && flags.iter().all(|flags| !flags.contains(" mg")), "{flags:?}");
    });
}
