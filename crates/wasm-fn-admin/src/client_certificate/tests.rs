//! Who a client is by which certificate.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, string::Ia5String};

use super::*;

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

fn identity(common_name: Option<&str>, names: Vec<SanType>) -> Option<String> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    if let Some(common_name) = common_name {
        parameters.distinguished_name.push(DnType::CommonName, common_name);
    }
    parameters.subject_alt_names = names;
    let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
    ClientIdentity::of(certificate.der()).map(|identity| identity.to_string())
}

#[test]
fn a_spiffe_id_comes_before_a_dns_name_and_that_before_the_common_name() {
    let (id, other) = (uri("spiffe://a.test/ci"), uri("https://a.test/ci"));
    for (common_name, names, expected) in [
        (Some("ci"), vec![dns("CI.a.test"), id.clone()], Some("spiffe://a.test/ci")),
        (Some("ci"), vec![dns("CI.a.test"), dns("b.test")], Some("dns:ci.a.test")),
        (Some("ci"), vec![other.clone(), dns("ci.a.test")], Some("dns:ci.a.test")),
        (Some("ci"), vec![other], Some("cn:ci")),
        (Some("Élise"), vec![], Some("cn:Élise")),
        // The kinds cannot be mistaken for each other.
        (Some("spiffe://a.test/ci"), vec![], Some("cn:spiffe://a.test/ci")),
        (None, vec![], None),
        (Some(""), vec![], None),
        (Some("a\nb"), vec![], None),
        // Nobody is two (SPIFFE X.509-SVID, section 2).
        (Some("ci"), vec![id, uri("spiffe://a.test/other")], None),
    ] {
        assert_eq!(identity(common_name, names.clone()).as_deref(), expected, "{common_name:?} {names:?}");
    }
    let long = format!("spiffe://a.test/{}", "x".repeat(BYTES_MAX));
    assert_eq!(identity(None, vec![uri(&long)]), None);
}

#[test]
fn what_is_no_certificate_is_nobody() {
    assert_eq!(ClientIdentity::of(&CertificateDer::from(vec![])), None);
    assert_eq!(ClientIdentity::of(&CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff])), None);
}
