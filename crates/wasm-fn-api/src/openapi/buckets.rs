//! The operations on buckets.

use utoipa::{
    PartialSchema as _,
    openapi::{Content, Required, path::Parameter, request_body::RequestBodyBuilder},
};

use super::{Describer, Description, parts::query};
use crate::{
    BucketKeyChanged, BucketKeyList, BucketKeyQuery, BucketKeysQuery, BucketValueView, Operation,
    words::BucketText,
};

/// Why what a path names is refused.
const NO_SUCH: &str = "`no-such-function`, `no-such-stage`, `no-such-bucket`";

impl Describer {
    /// The description of an operation on buckets.
    pub(super) fn of_buckets(&mut self, operation: Operation) -> Description {
        match operation {
            Operation::ListKeys => Description {
                tag: "buckets",
                summary: "Lists keys of a bucket of a stage, sorted, and what the bucket holds.",
                parameters: self.bucket().into_iter().chain(query::<BucketKeysQuery>()).collect(),
                body: None,
                success: self.json::<BucketKeyList>("The keys"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-key`, `invalid-request`"),
                    ("404", NO_SUCH),
                    ("503", "`not-ready`"),
                ],
            },
            Operation::GetValue => Description {
                tag: "buckets",
                summary: "Reads the value of a key of a bucket.",
                parameters: self.bucket().into_iter().chain(query::<BucketKeyQuery>()).collect(),
                body: None,
                success: self.json::<BucketValueView>("The value"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-key`, `invalid-request`"),
                    ("404", "`no-such-function`, `no-such-stage`, `no-such-bucket`, `no-such-key`"),
                    ("503", "`not-ready`"),
                ],
            },
            Operation::PutValue => Description {
                tag: "buckets",
                summary: "Sets the value of a key of a bucket. It is on disk when this is answered.",
                parameters: self.bucket().into_iter().chain(query::<BucketKeyQuery>()).collect(),
                body: Some(
                    RequestBodyBuilder::new()
                        .description(Some("The value"))
                        .content("application/octet-stream", Content::new(Some(Vec::<u8>::schema())))
                        .required(Some(Required::True))
                        .build(),
                ),
                success: self.json::<BucketKeyChanged>("The value is set"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-key`, `invalid-request`"),
                    ("404", NO_SUCH),
                    ("409", "`bucket-full`"),
                    ("413", "`too-large`"),
                    ("503", "`not-ready`"),
                ],
            },
            // The only one left.
            _ => Description {
                tag: "buckets",
                summary: "Deletes a key of a bucket, with its value. That is on disk when this is answered.",
                parameters: self.bucket().into_iter().chain(query::<BucketKeyQuery>()).collect(),
                body: None,
                success: self.json::<BucketKeyChanged>("The key is deleted"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-key`, `invalid-request`"),
                    ("404", "`no-such-function`, `no-such-stage`, `no-such-bucket`, `no-such-key`"),
                    ("503", "`not-ready`"),
                ],
            },
        }
    }

    /// The function, the stage and the bucket.
    fn bucket(&mut self) -> [Parameter; 3] {
        let bucket = self.segment::<BucketText>("bucket", "Name of the bucket");
        [self.function(), self.stage(), bucket]
    }
}
