//! Facts about `capacity`.

use super::*;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// About what the runtime's slots cost.
const SLOT: SlotCost =
    SlotCost { address_bytes: 4 * GIB + 64 * MIB, commit_bytes: 6 * MIB, maps: 8, keep_bytes_max: 4 * MIB };

/// A machine without limits of its own.
fn machine(memory_bytes: u64) -> Machine {
    Machine { memory_bytes, address_bytes: 1 << 47, maps_max: Some(65_530), commit_bytes: None }
}

fn asked(instances_max: u32) -> PlanOptions {
    PlanOptions { instances_max: Some(instances_max), memory_max_bytes: None }
}

#[test]
fn the_pool_is_chosen_by_the_machines_memory() {
    for (memory, instances, running, keep) in [
        (128 * MIB, 16, 12, 2 * MIB),
        (512 * MIB, 48, 36, 2 * MIB + 640 * 1024),
        (GIB, 96, 72, 2 * MIB + 640 * 1024),
        (8 * GIB, 768, 576, 2 * MIB + 640 * 1024),
        (16 * GIB, 1000, 750, 4 * MIB),
        (1024 * GIB, 1000, 750, 4 * MIB),
    ] {
        let plan = plan(&machine(memory), &SLOT, PlanOptions::default()).unwrap();
        assert_eq!(
            (plan.instances_max, plan.running_max, plan.keep_bytes),
            (instances, running, keep),
            "{memory} bytes"
        );
        assert_eq!(plan.memory_max_bytes, memory / 4 * 3);
        assert_eq!(plan.address_bytes, SLOT.address_bytes * u64::from(instances));
    }
}

#[test]
fn what_is_asked_for_is_taken_if_it_fits() {
    let options = PlanOptions { instances_max: Some(3), memory_max_bytes: Some(5 * GIB) };
    let plan = plan(&machine(8 * GIB), &SLOT, options).unwrap();
    assert_eq!((plan.instances_max, plan.running_max, plan.memory_max_bytes), (3, 3, 5 * GIB));
}

#[test]
fn free_slots_never_keep_more_than_a_quarter_of_the_memory() {
    for instances in [1, 10, 100, 1000, 6000] {
        let machine = machine(8 * GIB);
        let plan = plan(&machine, &SLOT, asked(instances)).unwrap();
        let kept = plan.keep_bytes * u64::from(instances);
        assert!(kept <= machine.memory_bytes / 4, "{instances} keep {kept}");
        assert!((KEPT_GRAIN..=SLOT.keep_bytes_max).contains(&plan.keep_bytes));
    }
}

#[test]
fn a_pool_that_does_not_fit_is_refused_with_what_would() {
    let limited = |change: fn(&mut Machine)| {
        let mut machine = machine(64 * GIB);
        change(&mut machine);
        machine
    };
    let cases: [(Machine, PlanOptions, &str); 7] = [
        (
            limited(|machine| machine.maps_max = None),
            asked(1_000_000_000),
            "1000000000 instances need 3.7 EiB of address space, found 127.9 TiB: at most 32263 fit",
        ),
        (
            machine(8 * GIB),
            asked(7000),
            "7000 instances need 6.8 GiB of memory for guests, found 6.0 GiB: at most 6144 fit",
        ),
        (
            limited(|machine| machine.address_bytes = 64 * GIB),
            asked(100),
            "100 instances need 406.2 GiB of address space, found 62.0 GiB: at most 15 fit",
        ),
        (
            machine(64 * GIB),
            asked(10_000),
            "10000 instances need 80000 memory mappings (vm.max_map_count), found 63530: at most 7941 fit",
        ),
        (
            limited(|machine| machine.commit_bytes = Some(GIB)),
            asked(1000),
            "1000 instances need 5.8 GiB of memory promised (vm.overcommit_memory is 2), found 1.0 GiB: \
             at most 170 fit",
        ),
        (
            machine(8 * GIB),
            PlanOptions { instances_max: None, memory_max_bytes: Some(9 * GIB) },
            "guests are to have 9.0 GiB of memory, found 8.0 GiB: at most that fits",
        ),
        (
            limited(|machine| machine.address_bytes = GIB),
            PlanOptions::default(),
            "1 instances need 4.0 GiB of address space, found 0 B: at most 0 fit",
        ),
    ];
    for (machine, options, expected) in cases {
        assert_eq!(plan(&machine, &SLOT, options).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_said_to_fit_does_and_one_more_does_not() {
    let tight = Machine { address_bytes: 100 * GIB, ..machine(GIB) };
    for machine in [machine(GIB), tight, machine(64 * GIB)] {
        let refused = plan(&machine, &SLOT, asked(u32::MAX));
        let Err(CapacityError::Instances { fits, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(plan(&machine, &SLOT, asked(fits)).unwrap().instances_max, fits);
        assert!(plan(&machine, &SLOT, asked(fits + 1)).is_err());
    }
}

#[test]
fn what_is_chosen_always_fits_where_one_instance_does() {
    for shift in 27..44 {
        for address in [8 * GIB, 64 * GIB, 1 << 47] {
            let machine = Machine { address_bytes: address, ..machine(1 << shift) };
            let plan = plan(&machine, &SLOT, PlanOptions::default()).unwrap();
            assert!(plan.instances_max >= 1 && plan.address_bytes <= address, "{machine:?}: {plan:?}");
        }
    }
}
