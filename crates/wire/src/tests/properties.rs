//! What holds for everything that can be said, and for anything that is not.

use proptest::collection::vec;
use proptest::prelude::*;
use puente_model::limits;

use super::{Codec, name, samples, strategies};
use crate::{
    Entry, FrameBuffer, Header, QueryPayload, decode_frame, encode_frame, explanation_from_bytes, join_hashes, proto,
    split_hashes,
};

proptest! {
    #[test]
    fn entries_round_trip(entry in strategies::entry()) {
        let bytes = entry.encode();
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn headers_round_trip(header in strategies::header()) {
        let bytes = header.encode();
        prop_assert_eq!(Header::decode(&bytes), Ok(header));
    }

    #[test]
    fn payloads_round_trip(payload in strategies::payload()) {
        let bytes = payload.encode();
        prop_assert_eq!(QueryPayload::decode(&bytes), Ok(payload));
    }

    #[test]
    fn explanations_round_trip(explanation in strategies::explanation()) {
        let bytes = explanation.encode();
        prop_assert_eq!(explanation_from_bytes(&bytes), Ok(explanation));
    }

    /// One entry, one encoding: whatever else decodes, is decoded from the bytes it encodes to.
    #[test]
    fn what_decodes_is_canonical(
        entry in strategies::entry(),
        header in strategies::header(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        grow in any::<bool>(),
    ) {
        for (codec, bytes) in [(Codec::Entry, entry.encode()), (Codec::Header, header.encode())] {
            let mut changed = bytes.clone();
            let at = at.index(changed.len());
            if grow { changed.insert(at, to) } else { changed[at] = to }
            if let Ok(again) = codec.round_trip(&changed) {
                prop_assert_eq!(again, changed);
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        for codec in Codec::ALL {
            if let Err(error) = codec.round_trip(&bytes) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
        let _ = split_hashes(&bytes);
        let mut buffer = FrameBuffer::default();
        buffer.push(&bytes);
        while let Ok(Some(_)) = buffer.next_frame() {}
    }

    /// A stream may be cut anywhere: the same frames come out.
    #[test]
    fn any_split_gives_the_same_frames(
        picks in vec((any::<prop::sample::Index>(), 0..2_000_usize), 1..6),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let all = samples::frames();
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (pick, pad) in picks {
            let body = match all[pick.index(all.len())].1.clone() {
                proto::frame::Body::Head(head) => {
                    proto::frame::Body::Head(proto::Head { checkpoint: vec![b'x'; pad], ..head })
                }
                other => other,
            };
            stream.extend(encode_frame(&proto::Frame { body: Some(body.clone()) }).unwrap());
            expected.push(body);
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut buffer = FrameBuffer::default();
        let mut found = Vec::new();
        for pair in cuts.windows(2) {
            buffer.push(&stream[pair[0]..pair[1]]);
            while let Some(bytes) = buffer.next_frame().unwrap() {
                found.push(decode_frame(&bytes).unwrap());
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(buffer.pending(), 0);
    }

    #[test]
    fn hashes_split_and_join(hashes in vec(any::<[u8; 32]>(), 0..=limits::PROOF_HASHES_MAX)) {
        let hashes: Vec<_> = hashes.into_iter().map(puente_model::Digest).collect();
        prop_assert_eq!(split_hashes(&join_hashes(&hashes)), Ok(hashes));
    }
}

#[test]
fn a_byte_at_a_time_gives_the_same_frames() {
    let stream: Vec<u8> = samples::frames()
        .into_iter()
        .flat_map(|(_, body)| encode_frame(&proto::Frame { body: Some(body) }).unwrap())
        .collect();
    let mut buffer = FrameBuffer::default();
    let mut found = 0;
    for byte in &stream {
        buffer.push(&[*byte]);
        found += usize::from(buffer.next_frame().unwrap().is_some());
    }
    assert_eq!(found, samples::frames().len());
}

#[test]
fn both_sides_of_every_size_limit() {
    let hash = [1; 32];
    assert!(split_hashes(&hash.repeat(limits::PROOF_HASHES_MAX)).is_ok());
    assert_eq!(name(&split_hashes(&hash.repeat(limits::PROOF_HASHES_MAX + 1)).unwrap_err()), "Field proof");
    assert_eq!(name(&split_hashes(&hash[1..]).unwrap_err()), "Field proof");

    let prefixed = |length: usize| {
        let mut buffer = FrameBuffer::default();
        buffer.push(&u32::try_from(length).unwrap().to_be_bytes());
        buffer.next_frame()
    };
    assert_eq!(prefixed(limits::FRAME_BYTES_MAX), Ok(None));
    assert_eq!(name(&prefixed(limits::FRAME_BYTES_MAX + 1).unwrap_err()), "TooLarge");
    assert_eq!(name(&prefixed(u32::MAX as usize).unwrap_err()), "TooLarge");

    // Tag and length take four bytes each at this size.
    let head = |bytes| {
        let head = proto::Head { checkpoint: vec![0; bytes], base: 0, proof: Vec::new() };
        encode_frame(&proto::Frame { body: Some(proto::frame::Body::Head(head)) })
    };
    let fits = head(limits::FRAME_BYTES_MAX - 8).unwrap();
    assert_eq!(fits.len(), 4 + limits::FRAME_BYTES_MAX);
    assert!(decode_frame(&fits[4..]).is_ok());
    assert_eq!(name(&head(limits::FRAME_BYTES_MAX - 7).unwrap_err()), "TooLarge");
    assert_eq!(name(&decode_frame(&vec![0; limits::FRAME_BYTES_MAX + 1]).unwrap_err()), "TooLarge");

    // Just over: measured; just under: judged by what they say.
    for (codec, max) in [
        (Codec::Entry, limits::ENTRY_BYTES_MAX),
        (Codec::Header, limits::ENTRY_BYTES_MAX),
        (Codec::Payload, limits::QUERY_BYTES_MAX),
        (Codec::Explanation, limits::QUERY_BYTES_MAX),
    ] {
        assert_eq!(name(&codec.round_trip(&vec![0xff; max]).unwrap_err()), "Undecodable", "{codec:?}");
        assert_eq!(name(&codec.round_trip(&vec![0xff; max + 1]).unwrap_err()), "TooLarge", "{codec:?}");
    }
}

#[test]
fn nothing_private_is_printed() {
    let printed = format!("{:?} {:?}", samples::payload(), samples::event());
    for secret in ["o-1042", "Ana", "1HGCM82633A004352", "BC/TIJ", "port"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
