//! What archives are read and refused.

use super::*;

/// An archive as a node writes it, with `state` and `components`.
fn archive(state: &[u8], components: &[&[u8]]) -> Vec<u8> {
    let member = |bytes: &[u8]| BackupMember {
        sha256: Digest(Sha256::digest(bytes).into()).to_string(),
        bytes: bytes.len() as u64,
    };
    let manifest = BackupManifest {
        format: BackupManifest::FORMAT,
        program: "1.2.3".to_owned(),
        created_ms: 1,
        revision: 7,
        functions: 2,
        state: member(state),
        components: components.iter().map(|bytes| member(bytes)).collect(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let names = components.iter().map(|bytes| BackupManifest::component_name(&member(bytes).sha256));
    let names = [BackupManifest::NAME.to_owned(), BackupManifest::STATE.to_owned()].into_iter().chain(names);
    let contents = [&*manifest, state].into_iter().chain(components.iter().copied());
    tar(&names.zip(contents).collect::<Vec<_>>())
}

fn tar(members: &[(String, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, contents) in members {
        let bytes = contents.len() as u64;
        archive.extend(MemberHeader { name: name.clone(), bytes }.to_block(0));
        archive.extend_from_slice(contents);
        archive.extend(vec![0; MemberHeader::padding(bytes)]);
    }
    archive.extend([0; wasm_fn_api::END_BYTES]);
    archive
}

/// Why `archive` is refused.
fn refusal(archive: &[u8]) -> String {
    read(archive, None).unwrap_err().to_string()
}

#[test]
fn members_are_written_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (state, component) = ([1; 100_000], [2; 512]);
    let manifest = read(&*archive(&state, &[&component, b""]), Some(folder.path())).unwrap();
    assert_eq!((manifest.revision, manifest.components.len()), (7, 2));
    assert_eq!(fs::read(folder.path().join("state.redb")).unwrap(), state);
    for member in &manifest.components {
        let contents = fs::read(folder.path().join("blobs").join(&member.sha256)).unwrap();
        assert_eq!(contents.len() as u64, member.bytes);
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed() {
    let whole = archive(b"state", &[b"first", &[3; 600]]);
    for length in 0..whole.len() - BLOCK_BYTES {
        let refusal = refusal(&whole[..length]);
        assert!(refusal.starts_with("it is damaged: ") || length < BLOCK_BYTES, "{length}: {refusal}");
    }
    let expected = read(&*whole, None).unwrap();
    let contents = BLOCK_BYTES..BLOCK_BYTES + serde_json::to_vec(&expected).unwrap().len();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let Ok(found) = read(&*changed, None) else { continue };
        // What follows contents, and what the manifest says besides what there is, decides nothing here.
        let told = contents.contains(&at) && found != expected;
        assert!(whole[at] == 0 || told, "byte {at}");
        assert_eq!((&found.state, &found.components), (&expected.state, &expected.components), "byte {at}");
    }
}

#[test]
fn other_files_are_told_from_backups() {
    assert_eq!(
        refusal(b""),
        "it is not a backup: found an empty file, expected a tar archive that begins with manifest.json"
    );
    assert!(refusal(&[b'x'; 4096]).starts_with("it is not a backup: found other contents"));
    assert!(refusal(b"\0asm\x01\0\0\0").starts_with("it is not a backup: found other contents"));
    let other = tar(&[("etc/passwd".to_owned(), b"root")]);
    assert!(
        refusal(&other)
            .starts_with("it is not a backup: found a tar archive that begins with \"etc/passwd\"")
    );
}

#[test]
fn names_from_elsewhere_are_never_followed() {
    let manifest = String::from_utf8(archive(b"", &[b"x"])).unwrap();
    let digest = Digest(Sha256::digest(b"x").into()).to_string();
    let escaping = manifest.replace(&digest, &format!("../{}", &digest[3..]));
    // The changed name also changes the sum of that member's header; the manifest is refused before that.
    let refusal = refusal(escaping.as_bytes());
    assert!(refusal.contains("names the component \"../"), "{refusal}");
}

#[test]
fn members_that_are_missing_or_too_many_are_named() {
    let whole = archive(b"state", &[b"first", b"second"]);
    let second = Digest(Sha256::digest(b"second").into()).to_string();
    let cut = [&whole[..whole.len() - END_OF_SECOND], &[0; wasm_fn_api::END_BYTES]].concat();
    let refusal_of_cut = refusal(&cut);
    assert!(refusal_of_cut.ends_with(&format!("expected blobs/{second} next")), "{refusal_of_cut}");
    let more = tar(&[("more".to_owned(), b"")]);
    let longer = [&whole[..whole.len() - wasm_fn_api::END_BYTES], &more].concat();
    assert!(refusal(&longer).ends_with("found more contents, expected its end"), "{}", refusal(&longer));
}

/// The header and the contents of the last member above, and the end.
const END_OF_SECOND: usize = 2 * BLOCK_BYTES + wasm_fn_api::END_BYTES;

#[test]
fn newer_format_is_refused_with_both_numbers() {
    let newer = tar(&[(BackupManifest::NAME.to_owned(), br#"{"format":2,"else":true}"#)]);
    assert_eq!(refusal(&newer), "it has format 2, expected at most 1, the newest that this program knows");
}
