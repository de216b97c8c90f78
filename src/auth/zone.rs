//! Which addresses metadata may point to (digest §5.5): an attacker writes metadata, and must not be able
//! to make us ask machines that only we can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address lies, as seen from the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Anywhere in the internet.
    Public,
    /// In the network around us.
    Private,
    /// This very machine.
    Loopback,
    /// Where clouds tell machines their secrets, and what only the next machine on the wire can reach.
    Link,
    /// Nothing that can be talked to.
    Never,
}

impl Zone {
    /// The zone of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Zone::of_v4(address),
            IpAddr::V6(address) => Zone::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0 | 127, ..] => Zone::Loopback,
            // Alibaba's metadata service lies in the shared address space.
            [169, 254, ..] | [100, 100, 100, 200] => Zone::Link,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Zone::Private,
            [192, 0, 0, _] | [198, 18..=19, ..] => Zone::Private,
            [224..=255, ..] => Zone::Never,
            _ => Zone::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h] = address.segments();
        let v4 = |high: u16, low: u16| {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            Zone::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match (a, b, c, d, e, f) {
            (0, 0, 0, 0, 0, 0) if g == 0 && h <= 1 => Zone::Loopback,
            // IPv4 in disguise: compatible, NAT64, 6to4.
            (0, 0, 0, 0, 0, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
            (0x2002, ..) => v4(b, c),
            // Amazon's metadata service has an address among the private ones.
            (0xfd00, 0x0ec2, ..) | (0xfe80..=0xfebf, ..) => Zone::Link,
            (0xfc00..=0xfdff, ..) | (0xfec0..=0xfeff, ..) | (0x64, 0xff9b, 1, ..) => Zone::Private,
            (0xff00..=0xffff, ..) => Zone::Never,
            _ => Zone::Public,
        }
    }

    /// Whether a server here may point to an address there.
    #[must_use]
    pub fn may_name(self, there: Zone) -> bool {
        match there {
            Zone::Public => true,
            Zone::Private => matches!(self, Zone::Private | Zone::Loopback),
            Zone::Loopback | Zone::Link => self == there,
            Zone::Never => false,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Zone::Public => "a public address",
            Zone::Private => "an address of a private network",
            Zone::Loopback => "an address of this machine",
            Zone::Link => "a link-local address",
            Zone::Never => "no address to connect to",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sec_02_every_kind_of_address_has_its_zone() {
        let cases = [
            (Zone::Public, "93.184.216.34 1.1.1.1 2606:4700::1 172.32.0.1 100.128.0.1 64:ff9b::1.1.1.1 2002:101:101::"),
            (Zone::Private, "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 198.18.0.1 fd12::1 fc00::1"),
            (Zone::Private, "::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1:: fec0::1 ::10.0.0.1"),
            (Zone::Loopback, "127.0.0.1 127.9.9.9 0.0.0.0 ::1 :: ::ffff:127.0.0.1 ::ffff:0:0 64:ff9b::127.0.0.1"),
            (Zone::Link, "169.254.169.254 fe80::1 100.100.100.200 fd00:ec2::254 ::ffff:169.254.169.254"),
            (Zone::Never, "224.0.0.1 255.255.255.255 240.0.0.1 ff02::1"),
        ];
        for (zone, addresses) in cases {
            for address in addresses.split_whitespace() {
                assert_eq!(Zone::of(address.parse().unwrap()), zone, "{address}");
            }
        }
    }

    #[test]
    fn sec_02_nobody_points_further_in_than_they_are() {
        use Zone::{Link, Loopback, Never, Private, Public};
        let named = |from: Zone| [Public, Private, Loopback, Link, Never].map(|there| from.may_name(there));
        assert_eq!(named(Public), [true, false, false, false, false]);
        assert_eq!(named(Private), [true, true, false, false, false]);
        assert_eq!(named(Loopback), [true, true, true, false, false]);
        assert_eq!(named(Link), [true, false, false, true, false]);
    }
}
