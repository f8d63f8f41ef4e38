//! What a header says.

use super::*;

#[test]
fn recipients_are_counted_without_grease() {
    let header = b"age-encryption.org/v1\n-> X25519 abc\nbody\n-> ssh-ed25519 a b\nbody\n-> Qx-grease z\n\
                   body\n--- mac\n-> X25519 of the contents\n";
    assert_eq!(recipients(header), 2);
    assert_eq!(recipients(b""), 0);
}
