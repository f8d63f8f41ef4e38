//! Tests of subjects: any key has one, and comes back from it.

use super::*;

fn subjects() -> Subjects {
    Subjects::new(&Arc::from("wasm-fn.test.kv"))
}

#[test]
fn any_key_has_a_subject_of_bounded_length() {
    let long = "ä".repeat(512);
    for key in ["", ".", "a.b.>", "*", " \n\t", "ünïcödé", "k", &*long] {
        let subject = subjects().key("00ff", key);
        assert!(subject.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>'));
        assert!(subject.len() < 1500, "{}", subject.len());
        assert_eq!(Subjects::key_of(&subject).as_deref(), Some(key));
        let tokens: Vec<_> = subject.split('.').collect();
        assert_eq!(tokens.len(), 8, "{subject}");
        assert!(tokens.iter().all(|token| !token.is_empty()));
    }
    assert_eq!(Subjects::key_of("wasm-fn.test.kv.key.1.00.00.not-base64!"), None);
}

#[test]
fn records_are_found_by_function() {
    let address = BucketAddress {
        function: "shop".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: "carts".to_owned(),
    };
    let subject = subjects().record(&address);
    assert_eq!(subjects().address(&subject), Some(address.clone()));
    let filter = subjects().records(Some(&address.function));
    assert!(subject.starts_with(filter.strip_suffix('>').unwrap()));
    assert_eq!(subjects().address("wasm-fn.test.kv.bucket.shop.live"), None);
    assert_eq!(subjects().address(&format!("{subject}.more")), None);
}

#[test]
fn shards_follow_each_other_without_gaps() {
    for keys in [4_097, 2_000_000] {
        let (mut at, mut count) = (Some(0), 0);
        while let Some(place) = at {
            let shard = Shard::at(place, keys);
            assert_ne!(shard, Shard::All);
            assert_eq!(shard.end().map(|end| Shard::at(end - 1, keys)), shard.end().map(|_| shard));
            (at, count) = (shard.end(), count + 1);
        }
        assert_eq!(count, if keys < 1_000_000 { 256 } else { 65_536 });
    }
    assert_eq!(Shard::at(u64::MAX, 4_096), Shard::All);
    // A key is in the shard of its place.
    let (subject, place) = (subjects().key("1", "a"), place("a"));
    for keys in [1, 5_000, 2_000_000] {
        let filter = subjects().keys("1", Shard::at(place, keys));
        assert!(subject.starts_with(filter.strip_suffix('>').unwrap()), "{filter} {subject}");
    }
}
