//! Numbers of several runs: medians, spreads and ratios. No units, no input or output.
//!
//! The spread is (largest - smallest) / median. A ratio counts where the spread of both its sides
//! is below [`SPREAD_MAX`].

/// From here on a ratio does not count.
pub const SPREAD_MAX: f64 = 0.15;

/// The middle of some runs, and how far they lie apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// (largest - smallest) / median.
    pub spread: f64,
}

impl Figure {
    /// Of no values there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (smallest, largest) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            f64::midpoint(sorted[half - 1], sorted[half])
        };
        let spread = if largest > smallest { (largest - smallest) / median } else { 0.0 };
        Some(Self { median, spread })
    }

    /// Whether a ratio of the two counts.
    pub fn counts_with(&self, other: &Self) -> bool {
        self.spread < SPREAD_MAX && other.spread < SPREAD_MAX
    }
}

/// A count as a number to calculate with; exact up to 2^53.
pub fn number(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let number = count as f64;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        let figure = Figure::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(figure, Figure { median: 2.0, spread: 1.0 });
        assert_eq!(Figure::of([1.0, 2.0, 3.0, 5.0]).unwrap().median, 2.5);
        assert_eq!(Figure::of([0.0, 0.0]).unwrap().spread, 0.0);
        assert!(Figure::of([]).is_none());
    }

    #[test]
    fn a_ratio_counts_where_neither_side_scatters() {
        let steady = Figure { median: 1.0, spread: 0.14 };
        let wild = Figure { median: 1.0, spread: 0.15 };
        assert!(steady.counts_with(&steady));
        assert!(!steady.counts_with(&wild) && !wild.counts_with(&steady));
    }
}
