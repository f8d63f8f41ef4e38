//! What does a guest's memory cost a request, without what the guest does in it?
//!
//! Budget: 500 ns for a memory that is taken, of which four pages are written, and that is put back restored,
//! on one thread; of these some 200 are the kernel's, which counts the thread's faults.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use wasm_fn_memory::{Image, Memories, MemoriesOptions, MemoryReset, Stacks};
use wasmtime::{LinearMemory, MemoryCreator as _, MemoryTypeBuilder, StackCreator as _};

/// Pages of a small guest: a stack of 1 MiB, and one page of 64 KiB for its data.
const PAGES: u64 = 17;

const BYTES: usize = 17 << 16;

const RESERVATION_BYTES: usize = 4 << 30;

const GUARD_BYTES: usize = 32 << 20;

fn memories() -> Arc<Memories> {
    let options = MemoriesOptions {
        slots: 4,
        slot_bytes: RESERVATION_BYTES,
        guard_bytes: GUARD_BYTES,
        keep_bytes: 4 << 20,
        reset: MemoryReset::Counted,
        audit_one_in: 0,
    };
    Memories::new(options).expect("four slots fit any machine")
}

fn take(memories: &Memories) -> Box<dyn LinearMemory> {
    let ty = MemoryTypeBuilder::new().min(PAGES).build().expect("a memory of 32 bits");
    let memory = memories.new_memory(ty, BYTES, None, Some(RESERVATION_BYTES), GUARD_BYTES);
    memory.expect("one of four is free")
}

/// Writes to the top of the guest's stack and to its data.
#[expect(unsafe_code, reason = "it stands for a guest")]
fn write(memory: &dyn LinearMemory) {
    for page in [254, 255, 256, 257] {
        // SAFETY: the page is one of the memory's, and nobody else has it.
        unsafe { memory.as_ptr().add(page << 12).write_volatile(black_box(1)) };
    }
}

fn memory(criterion: &mut Criterion) {
    let memories = memories();
    let image = Image::blank(&memories);
    criterion.bench_function("memory/take-write-and-put-back", |bencher| {
        image.during(|| bencher.iter(|| write(&*take(&memories))));
    });
    criterion.bench_function("memory/take-and-put-back", |bencher| {
        image.during(|| bencher.iter(|| take(&memories)));
    });
}

fn stack(criterion: &mut Criterion) {
    let stacks = Stacks::new(4, 2 << 20).expect("four stacks fit any machine");
    criterion.bench_function("memory/stack", |bencher| {
        bencher.iter(|| stacks.new_stack(2 << 20, false).map(drop).is_ok());
    });
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = memory, stack }
criterion_main!(benches);
