//! Single expressions of a rule, in the words of `nft --debug=netlink`: a value is loaded into a register, and then
//! compared, looked up, or made a verdict. One register is enough for everything we write.

use crate::ruleset::batch::{Name, Names};
use crate::ruleset::ir::NftVerdict;
use netlink_bindings::nftables::{
    CmpOps, CtDirection, CtKeys, FibFlags, LookupFlags, MetaKeys, PayloadBase, PushExprAttrs,
    PushExprListAttrs, PushVerdictAttrs, RangeOps, Registers, VerdictCode,
};
use netlink_bindings::utils::{Pusher, finalize_nested_header, push_header, push_nested_header};
use std::ffi::CStr;

/// `NFT_FIB_RESULT_ADDRTYPE`: [`netlink_bindings::nftables::FibResult`] counts from 0, the kernel from 1.
const FIB_RESULT_ADDRTYPE: u32 = 3;
/// `NFT_RT_XFRM` of `linux/netfilter/nf_tables.h`.
const RT_XFRM: u32 = 4;

/// Attributes of `linux/netfilter/nf_tables.h`.
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_LOOKUP_SET_ID: u16 = 4;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFTA_LOG_GROUP: u16 = 1;
const NFTA_LOG_PREFIX: u16 = 2;

/// What the register is loaded with, and compared with it.
const REGISTER: u32 = Registers::Reg1 as u32;

/// The register at so many bytes behind the first: one of 16 bytes where it begins as such, as nft writes it, else one
/// of four.
fn register_at(offset: u32) -> u32 {
    match offset % 16 {
        0 => Registers::Reg1 as u32 + offset / 16,
        _ => Registers::Reg3200 as u32 + offset / 4,
    }
}

/// A field in a header of the packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// The header that `offset` counts from.
    pub base: PayloadBase,
    /// In bytes.
    pub offset: u32,
}

/// What is loaded into the register.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand {
    /// Bytes of the packet.
    Packet(Field),
    /// What connection tracking knows of the packet's flow, of one of its sides.
    Flow(CtKeys, CtDirection),
}

/// A verdict, and the chain that it leads to.
#[derive(Debug, Clone)]
pub(super) struct EncodedVerdict {
    code: VerdictCode,
    chain: Option<Name>,
}

/// A set or map that is asked: by name, or by the number it has within its transaction if it has no name yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetName<'a> {
    pub name: &'a str,
    pub id: Option<u32>,
}

/// The list of a rule's expressions, at the end of a buffer.
pub(super) struct Expressions<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> Expressions<'b> {
    pub fn new(buffer: &'b mut Vec<u8>) -> Self {
        Expressions { buffer }
    }

    fn next(&mut self) -> PushExprAttrs<PushExprListAttrs<&mut Vec<u8>>> {
        PushExprListAttrs::new(&mut *self.buffer).nested_elem()
    }

    /// `[ meta load l4proto => reg 1 ]`
    pub fn meta(&mut self, key: MetaKeys) {
        self.next()
            .nested_data_meta()
            .push_key(key as u32)
            .push_dreg(REGISTER);
    }

    /// `[ ct load state => reg 1 ]`
    pub fn ct(&mut self, key: CtKeys) {
        self.next()
            .nested_data_ct()
            .push_key(key as u32)
            .push_dreg(REGISTER);
    }

    /// `[ immediate reg 1 0x00000000 0x00000000 0x00000001 0x00000000 ]`, `[ ct set label with reg 1 ]`
    pub fn set_ct_labels(&mut self, labels: &[u8; 16]) {
        self.next()
            .nested_data_immediate()
            .push_dreg(REGISTER)
            .nested_data()
            .push_value(labels);
        self.next()
            .nested_data_ct()
            .push_key(CtKeys::Labels as u32)
            .push_sreg(REGISTER);
    }

    /// `[ immediate reg 1 0x00000001 ]`, `[ meta set nftrace with reg 1 ]`
    pub fn mark_traced(&mut self) {
        self.next()
            .nested_data_immediate()
            .push_dreg(REGISTER)
            .nested_data()
            .push_value(&[1]);
        self.next()
            .nested_data_meta()
            .push_key(MetaKeys::Nftrace as u32)
            .push_sreg(REGISTER);
    }

    /// `[ payload load 4b @ network header + 12 => reg 1 ]`, `[ ct load src_ip => reg 1 , dir original ]`: of what
    /// stands in the packet as many bytes as are asked for, of the flow all of them.
    pub fn load(&mut self, origin: Operand, length: u32) {
        self.load_at(0, origin, length);
    }

    /// The same behind so many bytes of a longer key, a multiple of four.
    pub fn load_at(&mut self, offset: u32, origin: Operand, length: u32) {
        let register = register_at(offset);
        match origin {
            Operand::Packet(field) => {
                self.next()
                    .nested_data_payload()
                    .push_dreg(register)
                    .push_base(field.base as u32)
                    .push_offset(field.offset)
                    .push_len(length);
            }
            Operand::Flow(key, direction) => {
                self.next()
                    .nested_data_ct()
                    .push_key(key as u32)
                    .push_dreg(register)
                    .push_direction(direction as u8);
            }
        }
    }

    /// `[ fib daddr type => reg 1 ]`, `[ fib daddr . iif type => reg 1 ]`
    pub fn fib_type(&mut self, flags: &[FibFlags]) {
        let flags = flags.iter().fold(0, |all, flag| all | *flag as u32);
        self.next()
            .nested_data_fib()
            .push_flags(flags)
            .push_result(FIB_RESULT_ADDRTYPE)
            .push_dreg(REGISTER);
    }

    /// `[ rt load ipsec => reg 1 ]`. The bindings do not know `rt`: `NFTA_RT_DREG` is 1 and `NFTA_RT_KEY` 2.
    pub fn rt_ipsec(&mut self) {
        self.plain(c"rt", |buffer| {
            number(buffer, 1, REGISTER);
            number(buffer, 2, RT_XFRM);
        });
    }

    /// `[ cmp eq reg 1 0x00001600 ]`
    pub fn compare(&mut self, operator: CmpOps, value: &[u8]) {
        self.next()
            .nested_data_cmp()
            .push_sreg(REGISTER)
            .push_op(operator as u32)
            .nested_data()
            .push_value(value);
    }

    /// `[ range neq reg 1 0x0100000a 0x0500000a ]`
    pub fn outside(&mut self, first: &[u8], last: &[u8]) {
        self.next()
            .nested_data_range()
            .push_sreg(REGISTER)
            .push_op(RangeOps::Neq as u32)
            .nested_from_data()
            .push_value(first)
            .end_nested()
            .nested_to_data()
            .push_value(last);
    }

    /// `[ bitwise reg 1 = ( reg 1 & 0x0000c0ff ) ^ 0x00000000 ]`
    pub fn mask(&mut self, mask: &[u8]) {
        const ZERO: [u8; 16] = [0; 16];
        self.next()
            .nested_data_bitwise()
            .push_sreg(REGISTER)
            .push_dreg(REGISTER)
            .push_len(mask.len() as u32)
            .nested_mask()
            .push_value(mask)
            .end_nested()
            .nested_xor()
            .push_value(ZERO.get(..mask.len()).unwrap_or(&ZERO));
    }

    /// `[ lookup reg 1 set g7_v4_0 ]`, `[ lookup reg 1 set __set%d 0x1 ]` to match what it does not hold.
    pub fn lookup(&mut self, set: SetName, negated: bool) {
        self.look_up(set, |buffer| {
            if negated {
                number(buffer, NFTA_LOOKUP_FLAGS, LookupFlags::Invert as u32);
            }
        });
    }

    /// `[ lookup reg 1 set g7_in_0_3 dreg 0 ]`: what the map holds becomes the verdict.
    pub fn lookup_verdict(&mut self, map: SetName) {
        self.look_up(map, |buffer| {
            number(buffer, NFTA_LOOKUP_DREG, Registers::RegVerdict as u32);
        });
    }

    /// The bindings number the attributes of a lookup otherwise than the kernel.
    fn look_up(&mut self, set: SetName, more: impl FnOnce(&mut Vec<u8>)) {
        self.plain(c"lookup", |buffer| {
            name(buffer, NFTA_LOOKUP_SET, set.name);
            number(buffer, NFTA_LOOKUP_SREG, REGISTER);
            if let Some(id) = set.id {
                number(buffer, NFTA_LOOKUP_SET_ID, id);
            }
            more(buffer);
        });
    }

    /// `[ counter pkts 0 bytes 0 ]`
    pub fn counter(&mut self) {
        self.next().nested_data_counter();
    }

    /// `[ log prefix sg-web/in/3 group 25443 snaplen 0 qthreshold 0 ]`. The kernel keeps 127 bytes of a prefix.
    pub fn log(&mut self, prefix: &str, group: u16) {
        self.plain(c"log", |buffer| {
            push_header(buffer, NFTA_LOG_GROUP, 2);
            buffer.extend(group.to_be_bytes());
            // A length that is no multiple of four.
            buffer.extend([0; 2]);
            name(buffer, NFTA_LOG_PREFIX, prefix);
        });
    }

    /// An expression whose attributes are written by hand.
    fn plain(&mut self, name: &CStr, attributes: impl FnOnce(&mut Vec<u8>)) {
        let mut expression = self.next().push_name(name);
        let buffer = expression.as_vec_mut();
        let data = push_nested_header(buffer, NFTA_EXPR_DATA);
        attributes(buffer);
        finalize_nested_header(buffer, data);
    }

    /// `[ immediate reg 0 accept ]`, `[ immediate reg 0 jump -> g7_in_0 ]`
    pub fn verdict(&mut self, verdict: &EncodedVerdict) {
        let data = self
            .next()
            .nested_data_immediate()
            .push_dreg(Registers::RegVerdict as u32)
            .nested_data()
            .nested_verdict();
        verdict.push(data);
    }
}

/// An attribute of text, with NUL, up to a multiple of four bytes.
fn name(buffer: &mut Vec<u8>, attribute: u16, text: &str) {
    push_header(buffer, attribute, text.len() as u16 + 1);
    buffer.extend(text.as_bytes());
    buffer.push(0);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// An attribute of four bytes, in the network's order.
fn number(buffer: &mut Vec<u8>, attribute: u16, value: u32) {
    push_header(buffer, attribute, 4);
    buffer.extend(value.to_be_bytes());
}

impl EncodedVerdict {
    /// The verdict, if it is one and not a lookup.
    pub fn of(verdict: &NftVerdict, names: &Names) -> Option<Self> {
        let (code, chain) = match verdict {
            NftVerdict::Accept | NftVerdict::Observe(None) => (VerdictCode::Accept, None),
            NftVerdict::Drop => (VerdictCode::Drop, None),
            NftVerdict::Return => (VerdictCode::Return, None),
            NftVerdict::Jump(chain) => (VerdictCode::Jump, Some(chain)),
            NftVerdict::Goto(chain)
            | NftVerdict::Pass(chain)
            | NftVerdict::Observe(Some(chain)) => (VerdictCode::Goto, Some(chain)),
            NftVerdict::Map(..) => return None,
        };
        let chain = chain.map(|chain| names.of(chain));
        Some(EncodedVerdict { code, chain })
    }

    /// Writes it into the data of an expression or an element.
    pub fn push<P: Pusher>(&self, data: PushVerdictAttrs<P>) -> PushVerdictAttrs<P> {
        let data = data.push_code(self.code as u32);
        match &self.chain {
            Some(chain) => data.push_chain_bytes(chain.as_bytes()),
            None => data,
        }
    }
}
