//! Numbers to `OpenMetrics` text, through `prometheus-client`.
//!
//! Promises: names, types and label order are as given; families without
//! samples still announce their type. The library cannot be given exemplars
//! for numbers that it did not count itself, so those are appended to the
//! bucket's finished line.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::exemplar::Told;
use super::histogram::Summed;

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Label names with values, in the order in which they are written.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One family: a name without `_total`, and its samples.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Counter(Vec<(Labels, u64)>),
    /// A counter of what is not counted in whole numbers.
    Amount(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    Info(Labels),
    Histogram(Vec<(Labels, Summed)>),
}

/// A bucket's exemplar, with the labels of its histogram.
#[derive(Debug)]
pub(super) struct BucketExemplar {
    pub(super) name: &'static str,
    pub(super) labels: Labels,
    pub(super) upper_bound: f64,
    pub(super) told: Told,
}

/// All that one scrape tells.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    families: Vec<Family>,
    exemplars: Vec<BucketExemplar>,
}

impl Exposition {
    /// A counter; `name` comes without `_total`, which is appended.
    pub(super) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: Vec<(Labels, u64)>,
    ) {
        self.families.push(Family {
            name,
            help,
            samples: Samples::Counter(samples),
        });
    }

    /// A counter of a quantity with fractions; `name` comes without `_total`.
    pub(super) fn amount(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: Vec<(Labels, f64)>,
    ) {
        self.families.push(Family {
            name,
            help,
            samples: Samples::Amount(samples),
        });
    }

    /// A gauge.
    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: Vec<(Labels, f64)>,
    ) {
        self.families.push(Family {
            name,
            help,
            samples: Samples::Gauge(samples),
        });
    }

    /// Constant facts; `_info` is appended.
    pub(super) fn info(&mut self, name: &'static str, help: &'static str, labels: Labels) {
        self.families.push(Family {
            name,
            help,
            samples: Samples::Info(labels),
        });
    }

    /// A histogram; those without observations are left out.
    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: Vec<(Labels, Summed)>,
    ) {
        let seen = samples
            .into_iter()
            .filter(|(_, summed)| summed.count() > 0)
            .collect();
        self.families.push(Family {
            name,
            help,
            samples: Samples::Histogram(seen),
        });
    }

    /// A bucket's exemplar.
    pub(super) fn exemplar(&mut self, exemplar: BucketExemplar) {
        self.exemplars.push(exemplar);
    }

    /// The text, with its end marker.
    pub(super) fn encode(self) -> Result<String, fmt::Error> {
        let exemplars = by_line(&self.exemplars)?;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry)?;
        if exemplars.is_empty() {
            return Ok(encoded);
        }
        Ok(with_exemplars(&encoded, &exemplars))
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.families {
            let kind = family.samples.kind();
            let metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            family.samples.encode(metric)?;
        }
        Ok(())
    }
}

impl Samples {
    fn kind(&self) -> MetricType {
        match self {
            Self::Counter(_) | Self::Amount(_) => MetricType::Counter,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Info(_) => MetricType::Info,
            Self::Histogram(_) => MetricType::Histogram,
        }
    }

    fn encode(&self, mut metric: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            // Without labels the library would write an empty pair of braces.
            Self::Counter(samples) => samples.iter().try_for_each(|(labels, value)| {
                let exemplar = None::<&Exemplar<NoLabelSet, f64>>;
                if labels.is_empty() {
                    return metric.encode_counter(value, exemplar);
                }
                metric
                    .encode_family(labels)?
                    .encode_counter(value, exemplar)
            }),
            Self::Amount(samples) => samples.iter().try_for_each(|(labels, value)| {
                let exemplar = None::<&Exemplar<NoLabelSet, f64>>;
                metric
                    .encode_family(labels)?
                    .encode_counter(value, exemplar)
            }),
            Self::Gauge(samples) => samples.iter().try_for_each(|(labels, value)| {
                if labels.is_empty() {
                    return metric.encode_gauge(value);
                }
                metric.encode_family(labels)?.encode_gauge(value)
            }),
            Self::Info(labels) => metric.encode_info(labels),
            Self::Histogram(samples) => samples.iter().try_for_each(|(labels, summed)| {
                metric
                    .encode_family(labels)?
                    .encode_histogram::<NoLabelSet>(
                        summed.seconds(),
                        summed.count(),
                        &summed.buckets(),
                        None,
                    )
            }),
        }
    }
}

/// Exemplars by the beginning of the line that they belong to.
fn by_line(exemplars: &[BucketExemplar]) -> Result<HashMap<String, String>, fmt::Error> {
    let mut lines = HashMap::with_capacity(exemplars.len());
    for exemplar in exemplars {
        let mut key = format!("{}_bucket{{le=\"", exemplar.name);
        if exemplar.upper_bound.is_finite() {
            write!(key, "{:?}\"", exemplar.upper_bound)?;
        } else {
            key.push_str("+Inf\"");
        }
        for (name, value) in &exemplar.labels {
            write!(key, ",{name}=\"{}\"", escaped(value))?;
        }
        key.push_str("} ");
        let told = &exemplar.told;
        let text = format!(
            " # {{request_id=\"{}\"}} {}.{:06} {}.{:03}",
            told.request_id,
            told.micros / 1_000_000,
            told.micros % 1_000_000,
            told.unix_ms / 1_000,
            told.unix_ms % 1_000,
        );
        lines.insert(key, text);
    }
    Ok(lines)
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn with_exemplars(encoded: &str, exemplars: &HashMap<String, String>) -> String {
    let mut out = String::with_capacity(encoded.len() + exemplars.len() * 96);
    for line in encoded.lines() {
        out.push_str(line);
        let key = line.rfind("} ").and_then(|end| line.get(..end + 2));
        if let Some(exemplar) = key.and_then(|key| exemplars.get(key)) {
            out.push_str(exemplar);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::histogram::Histogram;

    fn labels(region: &str) -> Labels {
        vec![("region", region.to_owned())]
    }

    #[test]
    fn families_come_out_as_openmetrics() {
        let mut exposition = Exposition::default();
        let two = vec![(
            vec![("region", "a".to_owned()), ("status", "200".to_owned())],
            2,
        )];
        exposition.counter("erlmcp_requests", "Requests.", two);
        exposition.gauge(
            "meridian_generation",
            "Generation.",
            vec![(Vec::new(), 4.0)],
        );
        exposition.info(
            "meridian_build",
            "Build.",
            vec![("version", "1.2.3".to_owned())],
        );
        let expected = "\
# HELP erlmcp_requests Requests.
# TYPE erlmcp_requests counter
erlmcp_requests_total{region=\"a\",status=\"200\"} 2
# HELP meridian_generation Generation.
# TYPE meridian_generation gauge
meridian_generation 4.0
# HELP meridian_build Build.
# TYPE meridian_build info
meridian_build_info{version=\"1.2.3\"} 1
# EOF
";
        assert_eq!(exposition.encode().unwrap(), expected);
    }

    #[test]
    fn exemplars_stand_on_their_buckets_line_and_nowhere_else() {
        let histogram = Histogram::new();
        histogram.observe(Duration::from_millis(40));
        histogram.observe(Duration::from_secs(100));
        let mut summed = Summed::default();
        summed.add(&histogram);
        let mut exposition = Exposition::default();
        let odd = "a\"b\\";
        exposition.histogram("d_seconds", "D", vec![(labels(odd), summed.clone())]);
        for (upper_bound, micros) in [(0.05, 40_000), (f64::INFINITY, 100_000_000)] {
            let told = Told {
                request_id: "id-7".to_owned(),
                micros,
                unix_ms: 1_500,
            };
            let labels = labels(odd);
            exposition.exemplar(BucketExemplar {
                name: "d_seconds",
                labels,
                upper_bound,
                told,
            });
        }
        let encoded = exposition.encode().unwrap();
        let marked: Vec<&str> = encoded
            .lines()
            .filter(|line| line.contains(" # {"))
            .collect();
        let region = "region=\"a\\\"b\\\\\"";
        assert_eq!(
            marked,
            [
                format!(
                    "d_seconds_bucket{{le=\"0.05\",{region}}} 1 # {{request_id=\"id-7\"}} 0.040000 1.500"
                ),
                format!(
                    "d_seconds_bucket{{le=\"+Inf\",{region}}} 2 # {{request_id=\"id-7\"}} 100.000000 1.500"
                ),
            ]
        );
    }

    #[test]
    fn every_bound_is_spelt_as_the_library_spells_it() {
        let histogram = Histogram::new();
        histogram.observe(Duration::ZERO);
        let mut summed = Summed::default();
        summed.add(&histogram);
        let mut exposition = Exposition::default();
        for (upper_bound, _) in summed.buckets() {
            let told = Told {
                request_id: "id".to_owned(),
                micros: 1,
                unix_ms: 1,
            };
            let labels = labels("r");
            exposition.exemplar(BucketExemplar {
                name: "d_seconds",
                labels,
                upper_bound,
                told,
            });
        }
        let buckets = summed.buckets().len();
        exposition.histogram("d_seconds", "D", vec![(labels("r"), summed)]);
        let encoded = exposition.encode().unwrap();
        assert_eq!(encoded.matches(" # {").count(), buckets);
    }

    #[test]
    fn histograms_without_observations_are_left_out() {
        let mut exposition = Exposition::default();
        exposition.histogram("d_seconds", "D", vec![(labels("r"), Summed::default())]);
        let encoded = exposition.encode().unwrap();
        assert!(!encoded.contains("d_seconds_bucket"), "{encoded}");
    }
}
