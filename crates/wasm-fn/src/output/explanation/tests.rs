//! How error codes are explained.

use expect_test::expect;

use super::{list, one};
use crate::{
    explain::{Explanation, Plane},
    output::Look,
};

const GONE: Explanation = Explanation {
    code: "component-missing",
    plane: Plane::Admin,
    statuses: &[404, 422],
    meaning: "the component is not on the node: when it is asked for, or when it is deployed",
    remedy: "upload it first",
    page: Some("functions.md"),
};

#[test]
fn a_code_is_explained_in_lines_that_fit() {
    let look = Look { columns: Some(50), colours: false };
    expect![[r#"
        component-missing  404 or 422, answered by the admin API
        meaning  the component is not on the node: when it
                 is asked for, or when it is deployed
        remedy   upload it first
        more     docs/functions.md"#]]
    .assert_eq(&one(&GONE, look));
}

#[test]
fn the_list_has_a_line_for_each_code() {
    let trap = Explanation {
        code: "guest-trap",
        plane: Plane::Data,
        statuses: &[500],
        meaning: "the guest trapped",
        ..GONE
    };
    expect![[r#"
        CODE               STATUS      FROM       MEANING
        guest-trap         500         function   the guest trapped
        component-missing  404 or 422  admin API  the component is not on the node: when it is asked for, or when it is deployed"#]]
    .assert_eq(&list(&[trap, GONE], Look::default()));
}
