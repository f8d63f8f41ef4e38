//! The metrics of buckets: what they hold, and how many operations there were.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_store::{BucketAddress, BucketOperationCounts, BucketUsage, ValueOperations};

use super::labels::Label;

/// Buckets, as read at one moment. There are at most as many as configurations have named.
#[derive(Debug)]
pub(super) struct Buckets {
    rows: Vec<Row>,
    operations: BucketOperationCounts,
}

#[derive(Debug)]
struct Row {
    function: String,
    stage: String,
    bucket: String,
    usage: BucketUsage,
}

impl Buckets {
    /// Reads every bucket that exists.
    pub(super) async fn read(values: &dyn ValueOperations) -> Self {
        let usage = values.usage().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "metrics are without those of buckets");
            Vec::new()
        });
        let row = |(address, usage): (BucketAddress, BucketUsage)| Row {
            function: address.function.to_string(),
            stage: address.stage.to_string(),
            bucket: address.name,
            usage,
        };
        Self { rows: usage.into_iter().map(row).collect(), operations: values.operations() }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Bytes of all keys and values of a bucket";
        self.gauge(encoder, "wasm_fn_bucket_bytes", help, |usage| usage.bytes)?;
        let help = "Keys of a bucket";
        self.gauge(encoder, "wasm_fn_bucket_keys", help, |usage| usage.keys)?;
        let BucketOperationCounts { reads, writes, refused, failed } = self.operations;
        // The encoder adds `_total`.
        let mut operations = encoder.encode_descriptor(
            "wasm_fn_bucket_operations",
            "Operations on buckets of all functions since the node started, by result",
            None,
            MetricType::Counter,
        )?;
        let counts = [("read", reads), ("written", writes), ("refused", refused), ("failed", failed)];
        for (result, count) in counts {
            let labels: [Label<'_>; 1] = [("result", result)];
            operations.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &'static str,
        help: &'static str,
        read: fn(&BucketUsage) -> u64,
    ) -> fmt::Result {
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for row in &self.rows {
            let labels: [Label<'_>; 3] =
                [("function", &row.function), ("stage", &row.stage), ("bucket", &row.bucket)];
            gauge.encode_family(&labels)?.encode_gauge(&read(&row.usage))?;
        }
        Ok(())
    }
}
