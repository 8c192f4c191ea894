//! ethrex in memory, from its published libraries: `ethrex-client GENESIS HTTP ENGINE`.
//!
//! What lives here: what its own node program, which is not published, does to start an empty node
//! without peers. What must never live here: a rule of any chain. `GENESIS` is a file in geth's
//! form, the others are addresses: of `eth_`, `net_` and `web3_`, and of the Engine API, whose JWT
//! secret is empty. Blocks are made by whoever drives the Engine API.

use std::{collections::HashSet, env, error::Error, fs, net::SocketAddr, str::FromStr, sync::Arc};

use ethrex_blockchain::Blockchain;
use ethrex_common::{types::DEFAULT_BUILDER_GAS_CEIL, H256, H512};
use ethrex_p2p::{
    network::P2PContext,
    peer_handler::PeerHandler,
    peer_table::{PeerTableServer, TARGET_PEERS},
    rlpx::initiator::RLPxInitiator,
    sync::SyncMode,
    sync_manager::SyncManager,
    types::{NetworkConfig, Node, NodeRecord},
};
use ethrex_rpc::{start_api, ClientVersion, RpcNamespace};
use ethrex_storage::{EngineType, Store};
use secp256k1::SecretKey;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Of a node that nobody meets.
const SECRET: [u8; 32] = [0xcd; 32];
const PUBLIC: &str = "d860a01f9722d78051619d1e2351aba3f43f943f6f00718d1b9baa4101932a1f\
                      5011f16bb2b1bb35db20d6fe28fa0bf09636d26a87d31de9ec6203eeedb1f666";
const BROADCAST_MS: u64 = 1000;
const LOOKUP_MS: f64 = 100.0;

#[tokio::main]
async fn main() -> Fallible<()> {
    let given: Vec<String> = env::args().skip(1).collect();
    let [genesis, http, engine] = given.as_slice() else {
        return Err("usage: ethrex-client GENESIS HTTP ENGINE".into());
    };
    let (http, engine): (SocketAddr, SocketAddr) = (http.parse()?, engine.parse()?);
    let mut store = Store::new("", EngineType::InMemory)?;
    store.add_initial_state(serde_json::from_str(&fs::read_to_string(genesis)?)?).await?;
    let chain = Arc::new(Blockchain::default_with_store(store.clone()));
    chain.set_synced();
    let sync = SyncManager::new(
        nobody(store.clone())?,
        &SyncMode::Full,
        CancellationToken::new(),
        chain.clone(),
        store.clone(),
        ".".into(),
    )
    .await;
    let version = ["ethrex", "24.0.0", "tests", "00000000", env::consts::ARCH, "rustc"];
    let [name, number, branch, commit, machine, compiler] = version.map(String::from);
    start_api(
        http,
        None,
        engine,
        store.clone(),
        chain,
        Default::default(),
        ourselves()?,
        NodeRecord::from_node(&ourselves()?, 1, &secret()?)?,
        sync,
        nobody(store)?,
        ClientVersion::new(name, number, branch, commit, machine, compiler),
        None,
        DEFAULT_BUILDER_GAS_CEIL,
        String::new(),
        HashSet::from([RpcNamespace::Eth, RpcNamespace::Net, RpcNamespace::Web3]),
        CancellationToken::new(),
    )
    .await?;
    Ok(())
}

/// The peers of a node without any.
fn nobody(store: Store) -> Fallible<PeerHandler> {
    let table = PeerTableServer::spawn(H256::zero(), TARGET_PEERS, store.clone());
    let context = P2PContext::new(
        ourselves()?,
        NetworkConfig::from_node(&ourselves()?),
        TaskTracker::default(),
        secret()?,
        table.clone(),
        store.clone(),
        Arc::new(Blockchain::default_with_store(store)),
        String::new(),
        None,
        BROADCAST_MS,
        LOOKUP_MS,
    )?;
    Ok(PeerHandler::new(table, RLPxInitiator::spawn_on_thread(context)))
}

fn secret() -> Fallible<SecretKey> {
    Ok(SecretKey::from_byte_array(&SECRET)?)
}

fn ourselves() -> Fallible<Node> {
    Ok(Node::new("127.0.0.1".parse()?, 0, 0, H512::from_str(PUBLIC)?))
}
