//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

/// Media type of a page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub(super) struct Page(String);

/// Samples of one metric.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Page {
    /// Begins a metric whose samples only grow.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    /// Begins a metric whose samples go up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &str) -> Family<'_> {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: self, name }
    }

    /// The whole text.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let text = &mut self.page.0;
        text.push_str(self.name);
        for (at, (name, label)) in labels.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            let _ = write!(text, "{name}=\"");
            escape(label, text);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

fn escape(label: &str, text: &mut String) {
    for c in label.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a metric without labels, and one whose labels would break out of their quotes.
    /// Guarantees: the page is what Prometheus reads, whatever a service is called.
    #[test]
    fn labels_stay_within_their_quotes() {
        let mut page = Page::default();
        page.counter("fusebox_x_total", "What x is.").sample(&[], 3.0);
        let mut y = page.gauge("fusebox_y", "What y is.");
        y.sample(&[("source", "a\"} 1\nb"), ("destination", "c\\d")], 0.25);
        let expected = "# HELP fusebox_x_total What x is.\n\
                        # TYPE fusebox_x_total counter\n\
                        fusebox_x_total 3\n\
                        # HELP fusebox_y What y is.\n\
                        # TYPE fusebox_y gauge\n\
                        fusebox_y{source=\"a\\\"} 1\\nb\",destination=\"c\\\\d\"} 0.25\n";
        assert_eq!(page.into_text(), expected);
    }
}
