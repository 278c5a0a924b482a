//! The ports that the provider does not support.
//!
//! Source: the security group FAQ of Tencent Cloud's VPC documentation, "Which ports are not supported by
//! Tencent Cloud?", exactly as written there: TCP has 135, 137, 138 and 139 but not 136, UDP has 135-139;
//! 1433 is UDP only.

use super::port::PortSet;

/// TCP ports, in the order of the source document.
pub const TCP: &str =
    "42,135,137,138,139,445,593,1025,1434,1068,3127,3128,3129,3130,4444,5554,5800,5900,9996";

/// UDP ports, in the order of the source document.
pub const UDP: &str = "1026,1027,1434,1068,5554,9996,1028,1433,135-139";

/// A list as a set.
pub fn port_set(list: &str) -> Option<PortSet> {
    PortSet::new(PortSet::parse(list).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spelled out from the source document once more, port by port.
    #[test]
    fn exactly_the_source_documents_ports() {
        let tcp = [
            42, 135, 137, 138, 139, 445, 593, 1025, 1068, 1434, 3127, 3128, 3129, 3130, 4444, 5554,
            5800, 5900, 9996,
        ];
        let udp = [
            135, 136, 137, 138, 139, 1026, 1027, 1028, 1068, 1433, 1434, 5554, 9996,
        ];
        for (table, wanted) in [(TCP, &tcp[..]), (UDP, &udp[..])] {
            let set = port_set(table).expect("not empty");
            let blocked: Vec<u16> = (0..=u16::MAX).filter(|port| set.contains(*port)).collect();
            assert_eq!(blocked, wanted);
        }
    }
}
