//! Shares of traffic in basis points, and the points that requests draw.

use std::{fmt, str::FromStr};

/// A share of a stage's traffic in basis points, 0 to 10,000 (0.01 % to 100 %).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// Everything: 10,000 basis points.
    pub const FULL: Self = Self(10_000);
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The weight of `basis_points`; `None` above 10,000.
    pub const fn from_basis_points(basis_points: u16) -> Option<Self> {
        if basis_points <= Self::FULL.0 { Some(Self(basis_points)) } else { None }
    }

    /// Basis points, 0 to 10,000.
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// The rest, up to 10,000 basis points.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(Self::FULL.0 - self.0)
    }
}

/// Why a text is not a weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// The text is not `N%` with at most two decimals.
    #[error("{0:?} is not a weight, expected a percentage such as 10% or 0.05%")]
    Malformed(String),
    /// The weight is more than 100 %.
    #[error("weight {0} is over 100%")]
    OverFull(String),
}

impl FromStr for Weight {
    type Err = WeightError;

    /// Parses `10%`, `0.05%`, `100%`. Allows at most two decimals, so that nothing is rounded.
    fn from_str(text: &str) -> Result<Self, WeightError> {
        let malformed = || WeightError::Malformed(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(malformed)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let dangling = number.ends_with('.');
        if whole.is_empty() || dangling || decimals.len() > 2 || !digits(whole) || !digits(decimals) {
            return Err(malformed());
        }
        let over = || WeightError::OverFull(text.to_owned());
        let whole: u16 = whole.parse().map_err(|_| over())?;
        let hundredths: u16 = format!("{decimals:0<2}").parse().map_err(|_| malformed())?;
        whole
            .checked_mul(100)
            .and_then(|points| points.checked_add(hundredths))
            .and_then(Self::from_basis_points)
            .ok_or_else(over)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&percent(u64::from(self.0)))
    }
}

/// `basis_points` as people write weights: `10%`, `0.05%`. A sum of weights may be over 100 %.
pub fn percent(basis_points: u64) -> String {
    let (whole, hundredths) = (basis_points / 100, basis_points % 100);
    match (hundredths, hundredths % 10) {
        (0, _) => format!("{whole}%"),
        (_, 0) => format!("{whole}.{}%", hundredths / 10),
        _ => format!("{whole}.{hundredths:02}%"),
    }
}

/// A point on the line of 10,000 basis points, 0 to 9,999. A request draws a point, or its key hashes to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point(u16);

impl Point {
    /// Number of points.
    pub const COUNT: u16 = Weight::FULL.0;

    /// The point at `place`; `None` for 10,000 and above.
    pub fn new(place: u16) -> Option<Self> {
        (place < Self::COUNT).then_some(Self(place))
    }

    /// Scales 64 uniform bits to a uniform point (by multiply-shift; the bias is below 10⁻¹⁵).
    pub fn from_bits(bits: u64) -> Self {
        let scaled = (u128::from(bits) * u128::from(Self::COUNT)) >> 64;
        Self(u16::try_from(scaled).expect("a 64-bit fraction of 10,000 is below 10,000"))
    }

    /// The place, 0 to 9,999.
    pub fn place(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests;
