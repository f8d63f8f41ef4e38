//! Tokens on disk and in requests.

use super::*;

#[test]
fn token_is_made_once_and_readable_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Access::open(folder.path()).unwrap();
    let path = folder.path().join("token");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let token = text.trim();
    assert_eq!((token.len(), &token[..4]), (68, "wfn_"));
    assert!(first.actor(token).is_some());
    assert!(Access::open(folder.path()).unwrap().actor(token).is_some());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn two_directories_have_different_tokens() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Access::open(one.path()).unwrap();
    let other = Access::open(two.path()).unwrap();
    let token = fs::read_to_string(one.path().join("token")).unwrap();
    assert_eq!(other.actor(token.trim()), None);
}

#[test]
fn token_readable_by_others_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    Access::open(folder.path()).unwrap();
    let path = folder.path().join("token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Access::open(folder.path()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn file_that_holds_no_token_is_refused() {
    for text in ["", "\n", "secret", "wfn_", "wfn_zz", &format!("wfn_{}", "g".repeat(64))] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), text).unwrap();
        let error = Access::open(folder.path()).unwrap_err();
        assert!(matches!(error, TokenError::Malformed { .. }), "{text:?}: {error}");
        assert!(text.len() < 5 || !error.to_string().contains(text), "the text may be a secret");
    }
}

#[test]
fn only_the_whole_token_is_accepted() {
    let access = Access::only("wfn_secret".to_owned());
    assert_eq!(access.actor("wfn_secret"), Some(Actor { name: "admin".to_owned() }));
    for wrong in ["", "wfn_secre", "wfn_secret ", "wfn_secreT", "wfn_secrets"] {
        assert_eq!(access.actor(wrong), None, "{wrong:?}");
    }
}
