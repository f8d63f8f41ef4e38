//! Which addresses outgoing requests may connect to. Pure: it looks nothing up, and knows no sockets.
//!
//! The ranges are those of IANA's registries of special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>; RFC 6890). An address is public only if
//! nothing says otherwise: a special range is public only where its registry says "globally reachable".

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Anybody on the internet may have it.
    Public,
    /// The machine itself.
    Loopback,
    /// The same link.
    LinkLocal,
    /// A private network (RFC 1918, RFC 4193), or one that is shared with a provider (RFC 6598).
    Private,
    /// A cloud's service that hands out credentials of the machine.
    Metadata,
    /// Set apart for documentation, measurements, protocols or the future.
    Reserved,
    /// No address. Connecting to it reaches the machine itself.
    Unspecified,
    /// A group.
    Multicast,
    /// Everybody on the link.
    Broadcast,
}

/// Who vouches for an address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grounds {
    /// An egress rule of the function names it.
    pub(super) is_named: bool,
    /// How the node's configuration opens it.
    pub(super) opened: Opened,
    /// What of the node listens there.
    pub(super) own: Option<Listener>,
}

/// How the node's configuration opens an address for all functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opened {
    /// Not at all.
    #[default]
    No,
    /// As one of a network.
    AsPart,
    /// By itself.
    Itself,
}

/// What of the node listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// The data plane.
    Data,
    /// The admin API.
    Admin,
}

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prohibited {
    /// What kind of address it is.
    Class(Class),
    /// It is the node's own.
    Own(Listener),
}

/// Decides whether an outgoing request may connect to `address`.
///
/// # Errors
/// The rule that prohibits it.
pub(super) fn judge(address: IpAddr, grounds: Grounds) -> Result<(), Prohibited> {
    let Grounds { is_named, opened, own } = grounds;
    let class = Class::of(address);
    match own {
        Some(Listener::Admin) => return Err(Prohibited::Own(Listener::Admin)),
        Some(Listener::Data) if !is_named => return Err(Prohibited::Own(Listener::Data)),
        Some(Listener::Data) | None => {}
    }
    let is_permitted = match class {
        Class::Public => true,
        // Nothing that speaks HTTP has such an address.
        Class::Unspecified | Class::Multicast | Class::Broadcast => false,
        // A network is opened for what is in it, not for what a cloud put there.
        Class::Metadata => is_named || opened == Opened::Itself,
        Class::Loopback | Class::LinkLocal | Class::Private | Class::Reserved => {
            is_named || opened != Opened::No
        }
    };
    if is_permitted { Ok(()) } else { Err(Prohibited::Class(class)) }
}

/// The address that is reached through `address`: the IPv4 address that an IPv4-mapped one, NAT64 (RFC 6052)
/// or 6to4 (RFC 3056) carries, else itself.
pub(super) fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address else { return address };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return IpAddr::V4(mapped);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let carried = match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => [g, h],
        [0x2002, high, low, ..] => [high, low],
        _ => return IpAddr::V6(address),
    };
    let [[a, b], [c, d]] = carried.map(u16::to_be_bytes);
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

impl Class {
    /// The class of what is reached through `address`.
    pub(super) fn of(address: IpAddr) -> Self {
        match reached(address) {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        if METADATA_V4.contains(&address) {
            return Self::Metadata;
        }
        match address.octets() {
            [0, 0, 0, 0] => Self::Unspecified,
            [255, 255, 255, 255] => Self::Broadcast,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            // Two anycast addresses of a network's border (RFC 7723, RFC 8155) are for everybody.
            [192, 0, 0, 9 | 10] => Self::Public,
            // This network, protocol assignments, documentation, relays of 6to4, measurements, the future.
            [0, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [240..=255, ..] => Self::Reserved,
            [224..=239, ..] => Self::Multicast,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if METADATA_V6.contains(&address) {
            return Self::Metadata;
        }
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xff00..=0xffff, ..] => Self::Multicast,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // Unique local, site-local (RFC 3879), and NAT64 with a prefix of a network's own (RFC 8215).
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Self::Private,
            // Of the protocol assignments: three anycast addresses, AMT, AS112, ORCHIDv2 and drone tags.
            [0x2001, 1, 0, 0, 0, 0, 0, 1..=3] | [0x2001, 3 | 0x20..=0x3f, ..] | [0x2001, 4, 0x112, ..] => {
                Self::Public
            }
            // The other protocol assignments, among them Teredo; documentation.
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Reserved,
            // The only block that is given out (RFC 4291, section 2.4).
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }
}

/// Where clouds answer their machines. Azure's lies in a public range.
const METADATA_V4: [Ipv4Addr; 8] = [
    // AWS, Google, Azure, Oracle, DigitalOcean, OpenStack and others.
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: the resolver, containers, pods.
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Alibaba.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's host.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle, before it took the usual one.
    Ipv4Addr::new(192, 0, 0, 192),
    // Scaleway.
    Ipv4Addr::new(169, 254, 42, 42),
];

/// The same over IPv6.
const METADATA_V6: [Ipv6Addr; 5] = [
    // AWS: machines, pods.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // OpenStack.
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // Scaleway.
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private address",
            Self::Metadata => "a cloud's metadata address",
            Self::Reserved => "a reserved address",
            Self::Unspecified => "the unspecified address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
        })
    }
}

impl fmt::Display for Prohibited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class @ (Class::Unspecified | Class::Multicast | Class::Broadcast)) => {
                write!(f, "{class}, which no function may reach")
            }
            Self::Class(class) => write!(f, "{class}, which no entry of `egress` names"),
            Self::Own(Listener::Data) => {
                f.write_str("where the node serves functions, and no entry of `egress` names the address")
            }
            Self::Own(Listener::Admin) => {
                f.write_str("the admin API of the node, which no function may reach")
            }
        }
    }
}

#[cfg(test)]
mod tests;
