//! Tests of backups over HTTP.

use wasm_fn_api::{BLOCK_BYTES, BackupManifest, MemberHeader};

use super::*;

/// The members of a tar archive, by name, in their order.
fn members(mut archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    loop {
        let (block, rest) = archive.split_first_chunk::<BLOCK_BYTES>().unwrap();
        let Some(MemberHeader { name, bytes }) = MemberHeader::parse(block).unwrap() else {
            assert!(archive.iter().all(|&byte| byte == 0));
            assert_eq!(archive.len(), wasm_fn_api::END_BYTES);
            return members;
        };
        let bytes = usize::try_from(bytes).unwrap();
        members.push((name, rest[..bytes].to_vec()));
        archive = &rest[bytes + MemberHeader::padding(bytes as u64)..];
    }
}

async fn read(api: &Api) -> (HeaderMap, Vec<u8>) {
    let request = api.request("GET", "/v1/backup").body(Full::default()).unwrap();
    let (head, body) = api.open(request).await.into_parts();
    assert_eq!(head.status, 200);
    (head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn backup_is_an_archive_as_its_manifest_says() {
    let api = Api::start().await;
    let large: &'static [u8] = &[b'1'; 60_000];
    api.deploy("hello", large, json!({})).await;
    api.deploy("other", b"2", json!({})).await;
    let (headers, archive) = read(&api).await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-tar");
    assert_eq!(headers[header::CONTENT_LENGTH], archive.len().to_string());
    let members = members(&archive);
    let manifest: BackupManifest = serde_json::from_slice(&members[0].1).unwrap();
    assert_eq!((manifest.format, manifest.revision, manifest.functions), (1, 2, 2));
    assert_eq!(manifest.program, "1.2.3");
    assert!((1_000_000..=api.node.control.now().0).contains(&manifest.created_ms));
    let listed = [("state.redb".to_owned(), &manifest.state)].into_iter().chain(
        manifest.components.iter().map(|member| (BackupManifest::component_name(&member.sha256), member)),
    );
    assert_eq!(listed.clone().count(), 3);
    for ((name, member), (found, contents)) in listed.zip(&members[1..]) {
        assert_eq!((&name, member.bytes), (found, contents.len() as u64));
        assert_eq!(member.sha256, hex::encode(Sha256::digest(contents)));
    }
    assert!(members.iter().any(|(_, contents)| contents == large));
}

#[tokio::test]
async fn backup_of_nothing_is_one_too() {
    let api = Api::start().await;
    let (_, archive) = read(&api).await;
    let names: Vec<_> = members(&archive).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["manifest.json", "state.redb"]);
}

#[tokio::test]
async fn backup_without_a_component_is_a_fault_of_the_node() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let digest = hex::encode(Sha256::digest(b"1"));
    std::fs::remove_file(api.node.control.blobs().path(digest.parse().unwrap())).unwrap();
    let answer = api.get("/v1/backup").await;
    assert_eq!(answer.problem(), (500, "internal".to_owned()));
    assert!(answer.text.contains(&digest), "{}", answer.text);
}
