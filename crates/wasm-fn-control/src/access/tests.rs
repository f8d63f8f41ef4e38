//! Tests of tokens, on disk and in requests.

use super::*;

#[test]
fn token_is_made_once_and_readable_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Access::open(folder.path()).unwrap();
    let path = folder.path().join("token");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let token = text.trim();
    assert_eq!((token.len(), &token[..4]), (76, "wfn_"));
    assert!(first.actor(token, &Tokens::default(), 0).is_ok());
    assert!(Access::open(folder.path()).unwrap().actor(token, &Tokens::default(), 0).is_ok());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no draft is left");
}

#[test]
fn two_directories_have_different_tokens() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Access::open(one.path()).unwrap();
    let other = Access::open(two.path()).unwrap();
    let token = fs::read_to_string(one.path().join("token")).unwrap();
    assert!(other.actor(token.trim(), &Tokens::default(), 0).is_err());
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
    let actor = |token| access.actor(token, &Tokens::default(), 0);
    let (name, proof) = ("admin".to_owned(), Proof::DataDir { rotations: 0 });
    let admin = Actor { name, token: None, rights: Rights::all(), proof };
    assert_eq!(actor("wfn_secret"), Ok(admin));
    for wrong in ["", "wfn_secre", "wfn_secret ", "wfn_secreT", "wfn_secrets"] {
        assert!(actor(wrong).is_err(), "{wrong:?}");
    }
}

/// A data directory of an earlier program.
#[test]
fn token_of_the_earlier_form_stays_valid_until_it_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = format!("wfn_{}", "07".repeat(32));
    fs::write(folder.path().join("token"), format!("{earlier}\n")).unwrap();
    let access = Access::open(folder.path()).unwrap();
    assert!(access.actor(&earlier, &Tokens::default(), 0).is_ok());
    let rotated = access.rotate_token().unwrap();
    assert!(rotated.parse::<TokenSecret>().is_ok(), "the new one has a checksum");
    for access in [&access, &Access::open(folder.path()).unwrap()] {
        assert!(access.actor(&rotated, &Tokens::default(), 0).is_ok());
        let refused = access.actor(&earlier, &Tokens::default(), 0).unwrap_err();
        assert_eq!(refused, Unproven::Denied(Denied::Unknown), "it has the form of a token");
    }
    let mode = fs::metadata(folder.path().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn preview_tokens(access: &Access) -> [String; 2] {
    ["hello", "hello2"].map(|function| access.preview_token(&function.parse().unwrap(), &StageName::live()))
}

#[test]
fn a_preview_token_is_for_one_stage_of_one_function_of_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::open(folder.path()).unwrap();
    let [own, others] = preview_tokens(&access);
    assert_eq!((own.len(), &own[..4]), (68, "wfp_"));
    let hello = "hello".parse().unwrap();
    let may = |token: &str| access.may_preview(&hello, &StageName::live(), token);
    assert!(may(&own));
    let staging = "staging".parse().unwrap();
    let in_staging = access.preview_token(&hello, &staging);
    assert!(access.may_preview(&hello, &staging, &in_staging));
    assert!(!may(&in_staging) && !access.may_preview(&hello, &staging, &own));
    let [elsewhere, _] = preview_tokens(&Access::only("wfn_secret".to_owned()));
    for wrong in ["", "wfp_", &own[..67], &format!("{own} "), &own.to_uppercase(), &others, &elsewhere] {
        assert!(!may(wrong), "{wrong:?}");
    }
    assert!(access.actor(&own, &Tokens::default(), 0).is_err(), "it opens no admin API");
    assert!(!may(fs::read_to_string(folder.path().join("token")).unwrap().trim()));
}

#[test]
fn preview_tokens_outlive_a_restart_and_end_with_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::open(folder.path()).unwrap();
    let first = preview_tokens(&access);
    assert_eq!(preview_tokens(&Access::open(folder.path()).unwrap()), first);
    access.rotate_preview_key().unwrap();
    let second = preview_tokens(&access);
    assert!(first.iter().zip(&second).all(|(first, second)| first != second));
    assert!(!access.may_preview(&"hello".parse().unwrap(), &StageName::live(), &first[0]));
    assert_eq!(preview_tokens(&Access::open(folder.path()).unwrap()), second, "it was kept");
    let path = folder.path().join("preview.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no draft is left");
    let key = fs::read_to_string(path).unwrap();
    assert!(!second.iter().any(|token| key.contains(&token[4..])), "no token is kept");
}

#[test]
fn a_key_that_cannot_be_kept_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::open(folder.path()).unwrap();
    let tokens = preview_tokens(&access);
    drop(folder);
    assert!(matches!(access.rotate_preview_key().unwrap_err(), TokenError::File { .. }));
    assert_eq!(preview_tokens(&access), tokens);
}

#[test]
fn file_that_holds_no_preview_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("preview.key"), format!("wfp_{}", "a".repeat(64))).unwrap();
    let error = Access::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "holds 68 bytes that are not a token, expected wfpk_ and hexadecimal digits of 32 bytes"
        ),
        "{error}"
    );
}
