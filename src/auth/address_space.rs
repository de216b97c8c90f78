//! Which addresses metadata may point to (RFC 9728 §7.7): metadata may come from an attacker, who must not be able to
//! make mcpipe send requests to machines that only the user can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of network that an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSpace {
    /// The internet.
    Public,
    /// A private network.
    Private,
    /// This machine.
    Loopback,
    /// Link-local addresses, among them the metadata services of clouds.
    LinkLocal,
    /// Not an address to connect to.
    Unroutable,
}

impl AddressSpace {
    /// The address space of an address.
    #[must_use]
    pub fn from_ip(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressSpace::from_ipv4(address),
            IpAddr::V6(address) => AddressSpace::from_ipv6(address),
        }
    }

    fn from_ipv4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0 | 127, ..] => AddressSpace::Loopback,
            // Alibaba's metadata service is in the shared address space.
            [169, 254, ..] | [100, 100, 100, 200] => AddressSpace::LinkLocal,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressSpace::Private,
            [192, 0, 0, _] | [198, 18..=19, ..] => AddressSpace::Private,
            [224..=255, ..] => AddressSpace::Unroutable,
            _ => AddressSpace::Public,
        }
    }

    fn from_ipv6(address: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h] = address.segments();
        let v4 = |high: u16, low: u16| {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            AddressSpace::from_ipv4(Ipv4Addr::new(a, b, c, d))
        };
        match (a, b, c, d, e, f) {
            (0, 0, 0, 0, 0, 0) if g == 0 && h <= 1 => AddressSpace::Loopback,
            // IPv4 addresses in IPv6 form: compatible, NAT64, 6to4.
            (0, 0, 0, 0, 0, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
            (0x2002, ..) => v4(b, c),
            // Amazon's metadata service has an address among the private ones.
            (0xfd00, 0x0ec2, ..) | (0xfe80..=0xfebf, ..) => AddressSpace::LinkLocal,
            (0xfc00..=0xfdff, ..) | (0xfec0..=0xfeff, ..) | (0x64, 0xff9b, 1, ..) => AddressSpace::Private,
            (0xff00..=0xffff, ..) => AddressSpace::Unroutable,
            _ => AddressSpace::Public,
        }
    }

    /// Whether the metadata of a server in this address space may point to an address in that one.
    #[must_use]
    pub fn may_point_to(self, there: AddressSpace) -> bool {
        match there {
            AddressSpace::Public => true,
            AddressSpace::Private => matches!(self, AddressSpace::Private | AddressSpace::Loopback),
            AddressSpace::Loopback | AddressSpace::LinkLocal => self == there,
            AddressSpace::Unroutable => false,
        }
    }

    /// A description for users.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            AddressSpace::Public => "a public address",
            AddressSpace::Private => "an address of a private network",
            AddressSpace::Loopback => "an address of this machine",
            AddressSpace::LinkLocal => "a link-local address",
            AddressSpace::Unroutable => "not an address to connect to",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sec_02_addresses_are_classified_by_address_space() {
        let cases = [
            (
                AddressSpace::Public,
                "93.184.216.34 1.1.1.1 2606:4700::1 172.32.0.1 100.128.0.1 64:ff9b::1.1.1.1 2002:101:101::",
            ),
            (
                AddressSpace::Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 198.18.0.1 fd12::1 fc00::1",
            ),
            (AddressSpace::Private, "::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1:: fec0::1 ::10.0.0.1"),
            (
                AddressSpace::Loopback,
                "127.0.0.1 127.9.9.9 0.0.0.0 ::1 :: ::ffff:127.0.0.1 ::ffff:0:0 64:ff9b::127.0.0.1",
            ),
            (AddressSpace::LinkLocal, "169.254.169.254 fe80::1 100.100.100.200 fd00:ec2::254 ::ffff:169.254.169.254"),
            (AddressSpace::Unroutable, "224.0.0.1 255.255.255.255 240.0.0.1 ff02::1"),
        ];
        for (zone, addresses) in cases {
            for address in addresses.split_whitespace() {
                assert_eq!(AddressSpace::from_ip(address.parse().unwrap()), zone, "{address}");
            }
        }
    }

    #[test]
    fn sec_02_a_server_cannot_point_to_a_more_private_address_space() {
        use AddressSpace::{LinkLocal, Loopback, Private, Public, Unroutable};
        let named = |from: AddressSpace| {
            [Public, Private, Loopback, LinkLocal, Unroutable].map(|there| from.may_point_to(there))
        };
        assert_eq!(named(Public), [true, false, false, false, false]);
        assert_eq!(named(Private), [true, true, false, false, false]);
        assert_eq!(named(Loopback), [true, true, true, false, false]);
        assert_eq!(named(LinkLocal), [true, false, false, true, false]);
    }
}
