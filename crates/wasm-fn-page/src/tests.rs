//! Facts about the page's files.

use super::*;

fn ask(path: &str, fields: &[(HeaderName, &'static str)]) -> Response<Bytes> {
    let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    respond(path, &fields.collect()).unwrap()
}

#[test]
fn all_files_are_under_200_kb_together() {
    let (raw, gzip) = PREPARED
        .iter()
        .fold((0, 0), |(raw, gzip), prepared| (raw + prepared.asset.bytes.len(), gzip + prepared.gzip.len()));
    assert!(raw < 200_000, "{raw}");
    assert!(gzip < 80_000, "{gzip}");
}

#[test]
fn every_file_in_the_folder_is_served() {
    fn files(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, found) } else { found.push(path.display().to_string()) }
        }
    }
    let mut found = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/");
    files(folder.as_ref(), &mut found);
    for file in found {
        let path = file.strip_prefix(folder).unwrap();
        let path = if path == "index.html" { "" } else { path };
        let served = ASSETS.iter().any(|asset| asset.path == path);
        assert_eq!(served, !path.ends_with(".LICENSE.txt"), "{path}");
    }
    assert!(respond("nonsense.js", &HeaderMap::new()).is_none());
}

#[test]
fn nothing_inline_and_no_markup_from_texts() {
    let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
    for (at, _) in page.match_indices("<script") {
        assert!(
            page[at..].starts_with("<script src=") || page[at..].starts_with("<script type=\"module\" src=")
        );
    }
    for forbidden in ["<style", "style=", " onclick", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let own = ASSETS.iter().filter(|asset| asset.path.ends_with(".js") && !asset.path.starts_with("vendor/"));
    for asset in own {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
        {
            assert!(!text.contains(forbidden), "{}: {forbidden}", asset.path);
        }
    }
}

#[test]
fn files_come_compressed_to_those_who_accept_it_and_only_once() {
    let plain = ask("page.js", &[(header::ACCEPT_ENCODING, "br, gzip;q=0")]);
    assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
    let gzip = ask("page.js", &[(header::ACCEPT_ENCODING, "br, gzip")]);
    assert_eq!(gzip.headers()[header::CONTENT_ENCODING], "gzip");
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    decoder.write_all(gzip.body()).unwrap();
    assert_eq!(decoder.finish().unwrap(), plain.body()[..]);
    let mut fields = HeaderMap::new();
    fields.insert(header::IF_NONE_MATCH, gzip.headers()[header::ETAG].clone());
    let again = respond("page.js", &fields).unwrap();
    assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0));
}

#[test]
fn every_file_has_a_policy_that_allows_nothing_inline() {
    for asset in &ASSETS {
        let response = ask(asset.path, &[]);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}
