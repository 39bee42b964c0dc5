//! `openmls`'s storage, over [`Store`].

use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};

use super::{Store, StoreError, table};

/// One line a method: its name, its generics in the order of the trait, key and value, table.
macro_rules! methods {
    ($(write $name:ident<$($generic:ident: $bound:ident),+>($key:ident, $value:ident) = $table:ident;)*) => {
        $(fn $name<$($generic: traits::$bound<CURRENT_VERSION>),+>(&self, key: &$key, value: &$value) -> Result<(), StoreError> {
            self.put(table::$table, key, value)
        })*
    };
    ($(read $name:ident<$($generic:ident: $bound:ident),+>($key:ident, $value:ident) = $table:ident;)*) => {
        $(fn $name<$($generic: traits::$bound<CURRENT_VERSION>),+>(&self, key: &$key) -> Result<Option<$value>, StoreError> {
            self.get(table::$table, key)
        })*
    };
    ($(delete $name:ident<$generic:ident: $bound:ident> = $table:ident;)*) => {
        $(fn $name<$generic: traits::$bound<CURRENT_VERSION>>(&self, key: &$generic) -> Result<(), StoreError> {
            self.delete(table::$table, key)
        })*
    };
}

impl StorageProvider<CURRENT_VERSION> for Store {
    type Error = StoreError;

    methods! {
        write write_mls_join_config<G: GroupId, V: MlsGroupJoinConfig>(G, V) = CONFIG;
        write write_tree<G: GroupId, V: TreeSync>(G, V) = TREE;
        write write_interim_transcript_hash<G: GroupId, V: InterimTranscriptHash>(G, V) = INTERIM;
        write write_context<G: GroupId, V: GroupContext>(G, V) = CONTEXT;
        write write_confirmation_tag<G: GroupId, V: ConfirmationTag>(G, V) = CONFIRMATION;
        write write_group_state<V: GroupState, G: GroupId>(G, V) = STATE;
        write write_message_secrets<G: GroupId, V: MessageSecrets>(G, V) = MESSAGE_SECRETS;
        write write_resumption_psk_store<G: GroupId, V: ResumptionPskStore>(G, V) = RESUMPTION;
        write write_own_leaf_index<G: GroupId, V: LeafNodeIndex>(G, V) = OWN_INDEX;
        write write_group_epoch_secrets<G: GroupId, V: GroupEpochSecrets>(G, V) = EPOCH_SECRETS;
        write write_signature_key_pair<K: SignaturePublicKey, V: SignatureKeyPair>(K, V) = SIGNATURE_KEY;
        write write_encryption_key_pair<K: EncryptionKey, V: HpkeKeyPair>(K, V) = ENCRYPTION_KEY;
        write write_key_package<K: HashReference, V: KeyPackage>(K, V) = KEY_PACKAGE;
        write write_psk<K: PskId, V: PskBundle>(K, V) = PSK;
    }

    methods! {
        read mls_group_join_config<G: GroupId, V: MlsGroupJoinConfig>(G, V) = CONFIG;
        read tree<G: GroupId, V: TreeSync>(G, V) = TREE;
        read group_context<G: GroupId, V: GroupContext>(G, V) = CONTEXT;
        read interim_transcript_hash<G: GroupId, V: InterimTranscriptHash>(G, V) = INTERIM;
        read confirmation_tag<G: GroupId, V: ConfirmationTag>(G, V) = CONFIRMATION;
        read group_state<V: GroupState, G: GroupId>(G, V) = STATE;
        read message_secrets<G: GroupId, V: MessageSecrets>(G, V) = MESSAGE_SECRETS;
        read resumption_psk_store<G: GroupId, V: ResumptionPskStore>(G, V) = RESUMPTION;
        read own_leaf_index<G: GroupId, V: LeafNodeIndex>(G, V) = OWN_INDEX;
        read group_epoch_secrets<G: GroupId, V: GroupEpochSecrets>(G, V) = EPOCH_SECRETS;
        read signature_key_pair<K: SignaturePublicKey, V: SignatureKeyPair>(K, V) = SIGNATURE_KEY;
        read encryption_key_pair<V: HpkeKeyPair, K: EncryptionKey>(K, V) = ENCRYPTION_KEY;
        read key_package<K: HashReference, V: KeyPackage>(K, V) = KEY_PACKAGE;
        read psk<V: PskBundle, K: PskId>(K, V) = PSK;
    }

    methods! {
        delete delete_own_leaf_nodes<G: GroupId> = OWN_LEAVES;
        delete delete_group_config<G: GroupId> = CONFIG;
        delete delete_tree<G: GroupId> = TREE;
        delete delete_confirmation_tag<G: GroupId> = CONFIRMATION;
        delete delete_group_state<G: GroupId> = STATE;
        delete delete_context<G: GroupId> = CONTEXT;
        delete delete_interim_transcript_hash<G: GroupId> = INTERIM;
        delete delete_message_secrets<G: GroupId> = MESSAGE_SECRETS;
        delete delete_all_resumption_psk_secrets<G: GroupId> = RESUMPTION;
        delete delete_own_leaf_index<G: GroupId> = OWN_INDEX;
        delete delete_group_epoch_secrets<G: GroupId> = EPOCH_SECRETS;
        delete delete_signature_key_pair<K: SignaturePublicKey> = SIGNATURE_KEY;
        delete delete_encryption_key_pair<K: EncryptionKey> = ENCRYPTION_KEY;
        delete delete_key_package<K: HashReference> = KEY_PACKAGE;
        delete delete_psk<K: PskId> = PSK;
    }

    fn append_own_leaf_node<G: traits::GroupId<CURRENT_VERSION>, V: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        group: &G,
        leaf: &V,
    ) -> Result<(), StoreError> {
        let mut leaves: Vec<ciborium::Value> = self.get(table::OWN_LEAVES, group)?.unwrap_or_default();
        let leaf = ciborium::Value::serialized(leaf);
        leaves.push(leaf.map_err(|_| StoreError::Unwritable { table: table::OWN_LEAVES })?);
        self.put(table::OWN_LEAVES, group, &leaves)
    }

    fn own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>, V: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        group: &G,
    ) -> Result<Vec<V>, StoreError> {
        Ok(self.get(table::OWN_LEAVES, group)?.unwrap_or_default())
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        V: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        group: &G,
        reference: &R,
        proposal: &V,
    ) -> Result<(), StoreError> {
        let key = Self::key(table::PROPOSAL, reference)?;
        let mut keys: Vec<Vec<u8>> = self.get(table::PROPOSALS, group)?.unwrap_or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
        self.put(table::PROPOSALS, group, &keys)?;
        self.put(table::PROPOSAL, reference, &(reference, proposal))
    }

    fn queued_proposal_refs<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        group: &G,
    ) -> Result<Vec<R>, StoreError> {
        let keys: Vec<Vec<u8>> = self.get(table::PROPOSALS, group)?.unwrap_or_default();
        let read = keys.iter().map(|key| {
            let pair: Option<(R, ciborium::Value)> = self.get_raw(key)?;
            pair.map(|(reference, _)| reference).ok_or(StoreError::Torn)
        });
        read.collect()
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        V: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        group: &G,
    ) -> Result<Vec<(R, V)>, StoreError> {
        let keys: Vec<Vec<u8>> = self.get(table::PROPOSALS, group)?.unwrap_or_default();
        keys.iter().map(|key| self.get_raw(key)?.ok_or(StoreError::Torn)).collect()
    }

    fn remove_proposal<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        group: &G,
        reference: &R,
    ) -> Result<(), StoreError> {
        let gone = Self::key(table::PROPOSAL, reference)?;
        let mut keys: Vec<Vec<u8>> = self.get(table::PROPOSALS, group)?.unwrap_or_default();
        keys.retain(|key| *key != gone);
        self.put(table::PROPOSALS, group, &keys)?;
        self.delete_raw(gone);
        Ok(())
    }

    fn clear_proposal_queue<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        group: &G,
    ) -> Result<(), StoreError> {
        let keys: Vec<Vec<u8>> = self.get(table::PROPOSALS, group)?.unwrap_or_default();
        keys.into_iter().for_each(|key| self.delete_raw(key));
        self.delete(table::PROPOSALS, group)
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        V: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        group: &G,
        epoch: &E,
        leaf: u32,
        pairs: &[V],
    ) -> Result<(), StoreError> {
        self.put(table::EPOCH_KEYS, &(group, epoch, leaf), &pairs)
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        V: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        group: &G,
        epoch: &E,
        leaf: u32,
    ) -> Result<Vec<V>, StoreError> {
        Ok(self.get(table::EPOCH_KEYS, &(group, epoch, leaf))?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<G: traits::GroupId<CURRENT_VERSION>, E: traits::EpochKey<CURRENT_VERSION>>(
        &self,
        group: &G,
        epoch: &E,
        leaf: u32,
    ) -> Result<(), StoreError> {
        self.delete(table::EPOCH_KEYS, &(group, epoch, leaf))
    }
}
