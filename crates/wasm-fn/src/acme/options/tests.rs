//! Facts about what is accepted.

use super::*;

fn options(
    domains: &[&str],
    contact: &[&str],
    directory: Option<&str>,
) -> Result<AcmeOptions, AcmeOptionsError> {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    AcmeOptions::new(&texts(domains), texts(contact), directory.map(str::to_owned), None)
}

#[test]
fn names_are_domains_in_lower_case_and_the_server_is_reached_by_tls() {
    let acme = options(&["A.example.com", "b.example.com"], &["mailto:ann@example.com"], None).unwrap();
    assert_eq!(
        (acme.domains, acme.directory.as_str()),
        (vec!["a.example.com".into(), "b.example.com".into()], DIRECTORY)
    );
    let refused = |domains: &[&str], contact: &[&str], directory, key: &str, fact: &str| {
        let error = options(domains, contact, directory).unwrap_err();
        assert!(error.key == key && error.reason.contains(fact), "{error:?}");
    };
    refused(&[], &[], None, "domains", "found 0 names, expected 1 to 100");
    let long = format!("{}.example.com", "a".repeat(64));
    for name in
        ["example", "*.example.com", "a..b", "-a.example.com", "a-.b", "192.0.2.1", "a_b.example.com", &long]
    {
        refused(&["a.test", name], &[], None, "domains[1]", "without a wildcard");
    }
    refused(&["a.test", "A.test"], &[], None, "domains[1]", "each name once");
    refused(&["a.test"], &["mailto:ann@a.test", "ann"], None, "contact[1]", "mailto:");
    for directory in ["http://a.test/", "a.test", ""] {
        refused(&["a.test"], &[], Some(directory), "directory", "https");
    }
}
