//! What a request carries from its beginning to its end, so that its end counts where it began.

use super::lanes::Lane;

/// A request's place in the order.
///
/// The epoch, above eight bits. The highest of the eight says whether the request is held to the median too.
/// The others are one more than the number of its lane, or 0 for a request that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedTicket(u64);

impl FeedTicket {
    /// Whether it is held to the median too.
    const SAMPLED: u64 = 0x80;

    pub(super) fn new(epoch: u32, lane: Option<Lane>, sampled: bool) -> Self {
        let sampled = if sampled { Self::SAMPLED } else { 0 };
        Self(u64::from(epoch) << 8 | sampled | lane.map_or(0, |lane| lane as u64 + 1))
    }

    /// The ticket as a number, for [`from_bits`](Self::from_bits).
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The ticket with the number `bits`. A number that is not a ticket's gives one that is left out.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the bits below are the lane's")]
    pub(super) fn epoch(self) -> u32 {
        (self.0 >> 8) as u32
    }

    pub(super) fn lane(self) -> Option<Lane> {
        Lane::of_number((self.0 & (Self::SAMPLED - 1)).wrapping_sub(1))
    }

    pub(super) fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED != 0
    }
}
