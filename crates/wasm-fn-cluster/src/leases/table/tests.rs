//! Tests for `table`.

use super::*;

const LEASE: Duration = Duration::from_secs(5);

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The table after a round of `me`.
fn round(table: &Table, me: &str, wanted: &[&str], gone: &[&str], may_take: bool) -> Table {
    let (wanted, gone, none) = (set(wanted), set(gone), BTreeSet::new());
    table.next(&Wish {
        instance: me,
        name: me,
        beat: 1,
        is_member: true,
        is_retiring: false,
        wanted: &wanted,
        spread: &none,
        yielded: &none,
        gone: &gone,
        may_take,
        fence: 0,
    })
}

fn holders(table: &Table) -> Vec<(&str, &str, u64)> {
    table.leases.iter().map(|(name, lease)| (&**name, &*lease.holder, lease.fence)).collect()
}

#[test]
fn a_lease_has_one_holder_until_it_is_given_back_or_gone() {
    let table = round(&Table::default(), "a", &["x", "y"], &[], true);
    assert_eq!(holders(&table), [("x", "a", 1), ("y", "a", 2)]);
    let table = round(&table, "b", &["x", "y", "z"], &[], true);
    assert_eq!(holders(&table), [("x", "a", 1), ("y", "a", 2), ("z", "b", 3)]);
    // It is given back, and taken with a greater number.
    let table = round(&table, "a", &["x"], &[], true);
    assert_eq!(holders(&table), [("x", "a", 1), ("z", "b", 3)]);
    let table = round(&table, "b", &["x", "y", "z"], &["a"], true);
    assert_eq!(holders(&table), [("x", "b", 4), ("y", "b", 5), ("z", "b", 3)]);
    assert!(!table.nodes.contains_key("a"));
}

#[test]
fn nothing_is_taken_by_who_may_not() {
    let table = round(&Table::default(), "a", &["x"], &[], true);
    let table = round(&table, "b", &["x", "y"], &["a"], false);
    assert_eq!(holders(&table), []);
}

#[test]
fn who_leaves_has_nothing() {
    let table = round(&Table::default(), "a", &["x"], &[], true);
    let (wanted, none) = (set(&["x"]), set(&[]));
    let left = table.next(&Wish {
        instance: "a",
        name: "a",
        beat: 2,
        is_member: false,
        is_retiring: false,
        wanted: &wanted,
        spread: &none,
        yielded: &none,
        gone: &none,
        may_take: true,
        fence: 9,
    });
    assert!(left.nodes.is_empty() && left.leases.is_empty());
    assert!(table.frees(&left) && !left.frees(&table));
    // Fences go on from the greatest that anybody has seen.
    assert_eq!(holders(&round(&left, "b", &["x"], &[], true)), [("x", "b", 10)]);
}

#[test]
fn leases_have_a_bound() {
    let names: Vec<String> = (0..LEASES_MAX + 10).map(|number| format!("{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(round(&Table::default(), "a", &names, &[], true).leases.len(), LEASES_MAX);
}

#[test]
fn a_node_is_gone_after_a_lease_without_a_beat() {
    let at = Duration::from_secs;
    let mut table = round(&round(&Table::default(), "a", &[], &[], true), "b", &[], &[], true);
    let mut watched = Watched::default();
    watched.see(&table, at(10));
    assert_eq!(watched.next_gone("a", LEASE), Some(at(15)));
    assert_eq!(watched.gone("a", LEASE, at(14)), set(&[]));
    assert_eq!(watched.gone("a", LEASE, at(15)), set(&["b"]));
    assert_eq!(watched.beats("b"), Some((false, at(10))));
    table.nodes.get_mut("b").unwrap().beat = 7;
    watched.see(&table, at(14));
    assert_eq!(watched.gone("a", LEASE, at(15)), set(&[]));
    assert_eq!(watched.gone("a", LEASE, at(19)), set(&["b"]));
    assert_eq!(watched.beats("b"), Some((true, at(14))));
    table.nodes.remove("b");
    watched.see(&table, at(20));
    assert_eq!(watched.gone("a", LEASE, at(60)), set(&[]));
}

#[test]
fn what_was_written_is_read() {
    let table = round(&Table::default(), "a", &["x"], &[], true);
    assert_eq!(Table::read(&table.write()), Ok(table.clone()));
    let newer = Table { format: 2, ..table };
    let expected = "table of leases has format 2, expected at most 1";
    assert_eq!(Table::read(&newer.write()), Err(expected.to_owned()));
    assert!(Table::read(b"{").is_err());
}

/// The table after a round of `me`, which takes its part of a hundred leases and gives back `yielded`.
fn spread(table: &Table, me: &str, yielded: &BTreeSet<String>, gone: &[&str]) -> Table {
    let (all, gone, none) = (hundred(), set(gone), BTreeSet::new());
    table.next(&Wish {
        instance: me,
        name: me,
        beat: 1,
        is_member: true,
        is_retiring: false,
        wanted: &none,
        spread: &all,
        yielded,
        gone: &gone,
        may_take: true,
        fence: 0,
    })
}

fn hundred() -> BTreeSet<String> {
    (0..100).map(|number| format!("shard/{number}")).collect()
}

#[test]
fn leases_are_spread_over_the_nodes_and_follow_one_that_comes_or_goes() {
    let none = BTreeSet::new();
    let has = |table: &Table, node: &str| table.leases_of(node).len();
    let table = spread(&Table::default(), "a", &none, &[]);
    assert_eq!(has(&table, "a"), 100, "a node that is alone has all");
    // Nothing is taken from a node that still needs it.
    let table = spread(&table, "b", &none, &[]);
    let table = spread(&table, "a", &none, &[]);
    let surplus = table.surplus("a", &hundred());
    assert_eq!((has(&table, "a"), has(&table, "b")), (100, 0));
    assert!((30..=70).contains(&surplus.len()), "{}", surplus.len());
    // Only what is not its part is given back, whatever it would give back.
    let before = spread(&table, "a", &hundred(), &[]);
    let table = spread(&before, "b", &none, &[]);
    assert!(before.frees(&before) || has(&table, "a") == 100 - surplus.len());
    assert_eq!(table.leases_of("b").into_keys().collect::<BTreeSet<_>>(), surplus);
    assert_eq!(spread(&table, "a", &hundred(), &[]).leases_of("a"), table.leases_of("a"));
    // What a third node gets comes from both; what one leaves behind goes to those that remain.
    let table = spread(&table, "c", &none, &[]);
    assert!(!table.surplus("a", &hundred()).is_empty() && !table.surplus("b", &hundred()).is_empty());
    let table = spread(&spread(&table, "c", &none, &["a"]), "b", &none, &["a"]);
    assert_eq!(has(&table, "b") + has(&table, "c"), 100);
}

#[test]
fn a_node_that_knows_nothing_of_spreading_gets_no_part() {
    let old = round(&Table::default(), "old", &["x"], &[], true);
    let table = spread(&old, "new", &BTreeSet::new(), &[]);
    assert_eq!(table.leases_of("new").len(), 100);
    let text = String::from_utf8(old.write()).unwrap();
    assert!(!text.contains("spreads"), "{text}");
}

/// A table as this format has been written; another release may read it, or may have written it.
const WRITTEN: &str = include_str!("../../../formats/1/leases.json");

#[test]
fn tables_of_this_format_are_written_and_read_as_ever() {
    let table = round(&Table::default(), "a", &["rollout.hello.live"], &[], true);
    let table = round(&table, "b", &["rollout.hello.live"], &[], true);
    assert_eq!(String::from_utf8(table.write()).unwrap(), WRITTEN.trim_end());
    assert_eq!(Table::read(WRITTEN.as_bytes()), Ok(table.clone()));
    // A later release that keeps the format may say more.
    let more = WRITTEN.replacen('{', "{\"later\":[1],", 1);
    assert_eq!(Table::read(more.as_bytes()), Ok(table));
    let newer = WRITTEN.replacen("\"format\":1", "\"format\":2", 1);
    let text = "table of leases has format 2, expected at most 1";
    assert_eq!(Table::read(newer.as_bytes()), Err(text.to_owned()));
}
