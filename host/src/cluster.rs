//! Other nodes of the cluster: who they are, and messages between the modules of them.
//!
//! Messages go over the cluster's bus, in order as long as a link lasts; one that is under way when a link breaks is
//! lost. The server tells the receivers of two modules apart by the module's name only where that has nine characters:
//! what comes may be another module's.

use crate::after;
use crate::api::{accepted, Refused};
use crate::context::Ctx;
use crate::guard;
use redis_module::raw;
use std::ffi::{c_char, c_int, CString};
use std::fmt;
use std::ptr::null_mut;

const ID_BYTES: usize = raw::REDISMODULE_NODE_ID_LEN as usize;

/// The id of a node: 40 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId([u8; ID_BYTES]);

impl NodeId {
    /// # Safety
    /// `id` is null, or the server's, with all its characters.
    unsafe fn read(id: *const c_char) -> Option<Self> {
        // SAFETY: as the caller says; it need not end with a zero.
        (!id.is_null()).then(|| Self(unsafe { id.cast::<[u8; ID_BYTES]>().read_unaligned() }))
    }

    /// Reads one as CLUSTER writes it.
    fn parse(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    /// As the server takes it: some of its functions look for the end.
    fn c_text(self) -> CString {
        CString::new(self.0).unwrap_or_default()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// `127.0.0.1:6379`.
    pub address: String,
    /// Whether it is a primary, with slots or without.
    pub is_primary: bool,
    /// Whether the cluster agrees that it can't be reached.
    pub has_failed: bool,
}

/// Who is given messages.
pub trait Receiver: 'static {
    /// Its number, to be an unusual one: receivers of other modules may have it too.
    const KIND: u8;

    /// A message has come from a node, on the database 0.
    fn receive(ctx: &mut Ctx, from: NodeId, message: &[u8]);
}

impl Ctx<'_> {
    /// Whether this node is one of a cluster.
    pub fn is_in_cluster(&self) -> bool {
        my_id().is_some()
    }

    /// Whether this node is a replica of a cluster: at its start the server has not yet turned it into one
    /// ([`is_replica`](Self::is_replica)), but its configuration of the cluster says so.
    fn is_cluster_replica(&self) -> bool {
        my_id().and_then(|id| self.node(id)).is_some_and(|node| !node.is_primary)
    }

    /// Whether this node is a replica, or will be one as soon as it has started.
    pub fn is_any_replica(&self) -> bool {
        self.is_replica() || self.is_cluster_replica()
    }

    /// A node, if it is known and its address is.
    fn node(&self, id: NodeId) -> Option<Node> {
        // An IPv6 address with its zone, and an end; the server writes no more.
        const ADDRESS_BYTES: usize = 64;
        let mut ip: [c_char; ADDRESS_BYTES] = [0; ADDRESS_BYTES];
        let (mut port, mut flags): (c_int, c_int) = (0, 0);
        // SAFETY: reads the table; the context is valid; the id ends with a zero. The server fills what it is given,
        // of an address as many bytes as it may have (46), and takes null for what is not wanted.
        unsafe {
            let info = raw::RedisModule_GetClusterNodeInfo?;
            let (id, ip) = (id.c_text(), ip.as_mut_ptr());
            accepted(info(self.raw(), id.as_ptr(), ip, null_mut(), &mut port, &mut flags)).ok()?;
        }
        let ip: Vec<u8> = ip.iter().take_while(|c| **c != 0).map(|c| c.to_ne_bytes()[0]).collect();
        let has = |flag: u32| flags as u32 & flag != 0;
        Some(Node {
            id,
            address: format!("{}:{port}", String::from_utf8_lossy(&ip)),
            is_primary: has(raw::REDISMODULE_NODE_MASTER),
            has_failed: has(raw::REDISMODULE_NODE_FAIL),
        })
    }

    /// The other nodes whose address is known.
    pub fn other_nodes(&self) -> Vec<Node> {
        let mut ids = Vec::new();
        // SAFETY: reads the table; the context is valid. What the server gives is an array of so many ids, which is
        // given back.
        unsafe {
            let (Some(list), Some(free)) =
                (raw::RedisModule_GetClusterNodesList, raw::RedisModule_FreeClusterNodesList)
            else {
                return Vec::new();
            };
            let mut count = 0;
            let all = list(self.raw(), &mut count);
            if all.is_null() {
                return Vec::new();
            }
            for at in 0..count {
                ids.extend(NodeId::read(*all.add(at)));
            }
            free(all);
        }
        let own = my_id();
        ids.into_iter().filter(|id| Some(*id) != own).filter_map(|id| self.node(id)).collect()
    }

    /// The nodes that own slots, this one too if it does, as it sees them, and how many slots they own; refused where
    /// CLUSTER can't be called (`rename-command`). Unlike [`other_nodes`](Self::other_nodes) it has those whose address
    /// nobody knows. It takes the longer the more ranges there are: milliseconds of thousands.
    pub fn slot_owners(&self) -> Result<(Vec<NodeId>, u64), Refused> {
        /// Where CLUSTER SLOTS has the owner of a range, behind its ends; and where a node has its id.
        const OWNER: usize = 2;
        const ID: usize = 2;
        let reply = self.call(c"CLUSTER", &[c"SLOTS"]).ok_or(Refused)?;
        let (mut owners, mut slots) = (Vec::new(), 0);
        for range in reply.whole().elements() {
            let end = |which| range.element(which).integer();
            slots += u64::try_from(end(1) - end(0) + 1).unwrap_or(0);
            let owner = range.element(OWNER).element(ID).text().and_then(NodeId::parse);
            owners.extend(owner.filter(|owner| !owners.contains(owner)));
        }
        Ok((owners, slots))
    }

    /// Sends a message to a node's receiver of a kind. Refused where there is no link to it; that it arrives nobody
    /// says.
    pub fn send_to_node(&self, to: NodeId, kind: u8, message: &[u8]) -> Result<(), Refused> {
        let len = u32::try_from(message.len()).map_err(|_| Refused)?;
        // SAFETY: reads the table; the context is valid; the id ends with a zero, and the server copies the message.
        unsafe {
            let send = raw::RedisModule_SendClusterMessage.ok_or(Refused)?;
            let (id, message) = (to.c_text(), message.as_ptr().cast());
            accepted(send(self.raw(), id.as_ptr().cast_mut(), kind, message, len))
        }
    }
}

/// This node's id; `None` where it is in no cluster.
pub fn my_id() -> Option<NodeId> {
    // SAFETY: reads the table; the server's id, or null.
    unsafe { NodeId::read(raw::RedisModule_GetMyClusterID?()) }
}

/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn register<R: Receiver>(ctx: *mut raw::RedisModuleCtx) {
    // SAFETY: reads the table; the context is OnLoad's, the callback a function of this module. Outside of a cluster
    // the server does nothing.
    unsafe {
        if let Some(register) = raw::RedisModule_RegisterClusterMessageReceiver {
            register(ctx, R::KIND, Some(receive::<R>));
        }
    }
}

unsafe extern "C" fn receive<R: Receiver>(
    ctx: *mut raw::RedisModuleCtx,
    sender: *const c_char,
    _: u8,
    payload: *const u8,
    len: u32,
) {
    guard::run("cluster message", (), || {
        // SAFETY: the server's arguments, valid for this call: the id of a node, and so many bytes.
        let (mut ctx, from, message) = unsafe {
            let message = match payload.is_null() {
                true => &[][..],
                false => std::slice::from_raw_parts(payload, len as usize),
            };
            (Ctx::new(ctx), NodeId::read(sender), message)
        };
        if let Some(from) = from {
            R::receive(&mut ctx, from, message);
        }
        after::run(&mut ctx);
    });
}
