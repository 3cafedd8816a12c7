//! Laws of the codec: what becomes bytes comes back, and what would not is refused.

use perennial::codec::{self, MAX_DEPTH, MAX_EMPTY, RoundTrips};
use perennial::{Error, Oid, Persistent, Ref, Result, decode_as};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;

const HERE: u32 = 7;
const ELSEWHERE: u32 = 8;

/// A reference as an open database gives it.
fn reference(oid: u64, tag: u32) -> Ref<()> {
    codec::decode("reference", &encoded(&oid).0, tag).expect("a number is a reference's bytes")
}

fn encode<T: Serialize>(value: &T) -> Result<(Vec<u8>, Vec<Oid>)> {
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    codec::encode("test", value, HERE, &mut bytes, &mut references)?;
    Ok((bytes, references))
}

fn encoded<T: Serialize>(value: &T) -> (Vec<u8>, Vec<Oid>) {
    encode(value).expect("the value can be encoded")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    codec::decode("test", bytes, HERE)
}

fn check<T: Serialize + DeserializeOwned>(value: &T) -> Result<()> {
    let (bytes, references) = encode(value)?;
    codec::check_round_trip("test", value, &bytes, &references, HERE)
}

fn refusal<T: Debug>(result: Result<T>) -> String {
    match result {
        Err(error @ Error::Codec(_)) => error.to_string(),
        other => panic!("expected a refusal by the codec, got {other:?}"),
    }
}

/// Every kind of thing that serde knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    numbers: (i8, i16, i32, i64, i128, u8, u16, u32, u64, u128),
    fractions: (f32, f64),
    text: String,
    letter: char,
    flag: bool,
    unit: (),
    nothing: Nothing,
    wrapped: Wrapped,
    pair: Pair,
    kinds: Vec<Kind>,
    map: BTreeMap<String, Option<u32>>,
    next: Option<Box<Everything>>,
    refs: Vec<Ref<Everything>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nothing;
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wrapped(u64);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(String, i32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    One(i64),
    Two(String, bool),
    Named { x: u8, of: Option<Ref<Kind>> },
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unit),
        any::<i64>().prop_map(Kind::One),
        any::<(String, bool)>().prop_map(|(text, flag)| Kind::Two(text, flag)),
        (any::<u8>(), proptest::option::of(0u64..1 << 48))
            .prop_map(|(x, oid)| Kind::Named { x, of: oid.map(|oid| typed(reference(oid, HERE))) }),
    ]
}

/// The same name for an object of another type, as one gets it from bytes.
fn typed<T>(reference: Ref<()>) -> Ref<T> {
    decode(&encoded(&reference).0).expect("a reference's bytes")
}

fn everything() -> impl Strategy<Value = Everything> {
    let leaf = (
        any::<(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128)>(),
        (any::<f32>(), any::<f64>(), any::<String>(), any::<char>(), any::<bool>()),
        (any::<u64>(), any::<(String, i32)>(), vec(kind(), 0..4)),
        btree_map(any::<String>(), any::<Option<u32>>(), 0..4),
        vec(0u64..1 << 48, 0..4),
    );
    let leaf = leaf.prop_map(|(numbers, (f, d, text, letter, flag), (w, p, kinds), map, refs)| {
        Everything {
            numbers,
            fractions: (if f.is_nan() { 0.0 } else { f }, if d.is_nan() { 0.0 } else { d }),
            text,
            letter,
            flag,
            unit: (),
            nothing: Nothing,
            wrapped: Wrapped(w),
            pair: Pair(p.0, p.1),
            kinds,
            map,
            next: None,
            refs: refs.into_iter().map(|oid| typed(reference(oid, HERE))).collect(),
        }
    });
    leaf.prop_recursive(4, 8, 1, |inner| {
        (inner.clone(), inner).prop_map(|(outer, next)| {
            let next = Some(Box::new(next));
            Everything { next, ..outer }
        })
    })
}

fn oids_of(value: &Everything) -> BTreeSet<Oid> {
    let mut oids: BTreeSet<Oid> = value.refs.iter().map(|r| r.oid()).collect();
    oids.extend(value.kinds.iter().filter_map(|kind| match kind {
        Kind::Named { of, .. } => of.map(Ref::oid),
        _ => None,
    }));
    oids.extend(value.next.iter().flat_map(|next| oids_of(next)));
    oids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // C6: decoding undoes encoding, and every reference at any depth is found once, in order.
    #[test]
    fn what_is_encoded_decodes_to_the_same_value_and_its_references(value in everything()) {
        let (bytes, references) = encoded(&value);

        let back: Everything = decode(&bytes)?;

        prop_assert_eq!(&back, &value);
        prop_assert_eq!(encoded(&back).0, bytes, "C4: what did not change encodes the same");
        prop_assert_eq!(references, oids_of(&value).into_iter().collect::<Vec<_>>());
        check(&value)?;
    }

    // The bytes are plain bincode's, so that a successor can read them.
    #[test]
    fn the_bytes_are_those_of_bincode(value in everything()) {
        let plain = bincode::serde::encode_to_vec(&value, bincode::config::standard());

        prop_assert_eq!(encoded(&value).0, plain.expect("bincode encodes it"));
    }

    // C9: hostile bytes are an error or a value, never a panic or an abort.
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode::<Everything>(&bytes);
        let _ = decode::<Vec<Vec<Vec<String>>>>(&bytes);
        let _ = decode::<HashMap<u64, Vec<()>>>(&bytes);
        let _ = decode::<Deep>(&bytes);
    }

    #[test]
    fn changed_bytes_never_panic(value in everything(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = encoded(&value).0;
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(back) = decode::<Everything>(&bytes) {
            prop_assert!(encode(&back).is_ok(), "what could be read can be written");
        }
        bytes.truncate(at);
        prop_assert!(decode::<Everything>(&bytes).is_err(), "a value without its end");
    }

    // C4, C6: a random order is no reason to refuse a type.
    #[test]
    fn maps_and_sets_of_random_order_survive_the_round_trip(
        map in hash_map(any::<String>(), vec(any::<u16>(), 0..3), 0..20),
        set in proptest::collection::hash_set(any::<u32>(), 0..20),
        nested in hash_map(any::<u8>(), hash_map(any::<u8>(), any::<bool>(), 0..5), 0..5),
    ) {
        check(&(map, set, nested))?;
    }
}

// C6: references are found wherever serde can put them.
#[test]
fn references_are_found_in_keys_tuples_enums_options_and_boxes() {
    #[derive(Serialize)]
    enum Place {
        Newtype(Ref<()>),
        Tuple(u8, Ref<()>),
        Struct { at: Ref<()> },
    }
    let r = |oid| reference(oid, HERE);
    let places = (
        BTreeMap::from([(r(1), r(2))]),
        HashSet::from([r(3)]),
        (Some(Box::new(r(4))), [r(5), r(5)]),
        [Place::Newtype(r(6)), Place::Tuple(0, r(7)), Place::Struct { at: r(8) }],
        std::iter::once((r(9), 0)).collect::<Vec<_>>(),
    );

    let (_, references) = encoded(&places);

    assert_eq!(references, (1..=9).map(Oid::new).collect::<Vec<_>>());
}

// C6: a reference of another database is refused; a loose one belongs to whoever stores it.
#[test]
fn a_reference_of_another_database_is_refused() {
    let foreign = vec![Some(reference(3, ELSEWHERE))];

    assert!(matches!(encode(&foreign), Err(Error::ForeignRef { oid }) if oid == Oid::new(3)));

    let loose = reference(3, 0);
    assert_eq!(encoded(&loose).1, [Oid::new(3)]);
}

#[test]
fn references_of_two_databases_are_never_equal() {
    let set = HashSet::from([reference(3, HERE), reference(3, ELSEWHERE), reference(3, HERE)]);

    assert_eq!(set.len(), 2);
    assert!(reference(3, ELSEWHERE) < reference(4, HERE), "the oid decides first");
    assert_eq!(format!("{:?}", reference(3, HERE)), "Ref(3)");
}

// In a foreign format a reference is a number; what comes back from one is loose.
#[test]
fn a_reference_in_another_format_is_its_number() {
    use serde::de::value::{Error, U64Deserializer};
    let plain = bincode::serde::encode_to_vec(reference(300, HERE), bincode::config::standard());
    assert_eq!(plain.expect("bincode encodes it"), encoded(&300u64).0);

    let number: U64Deserializer<Error> = serde::de::IntoDeserializer::into_deserializer(300u64);
    let back = Ref::<()>::deserialize(number).expect("a number is a reference");

    assert_eq!(back, reference(300, 0));
    assert_ne!(back, reference(300, HERE), "it does not know its database");
    let beyond = encoded(&(Oid::MAX.number() + 1)).0;
    assert!(refusal(decode::<Ref<()>>(&beyond)).contains("the number of an object"));
}

// A failed encoding leaves what was there before.
#[test]
fn nothing_is_appended_when_encoding_fails() {
    let (mut bytes, mut references) = (vec![1, 2], vec![Oid::new(9)]);
    let value = (reference(1, HERE), "text", reference(2, ELSEWHERE));

    let result = codec::encode("test", &value, HERE, &mut bytes, &mut references);

    assert!(result.is_err());
    assert_eq!((bytes, references), (vec![1, 2], vec![Oid::new(9)]));
}

/// A reference hidden in a string, as `#[serde(with = …)]` would do it.
#[derive(Debug)]
struct Hidden(Ref<()>);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = bincode::serde::encode_to_vec(self.0, bincode::config::standard());
        serializer.serialize_bytes(&inner.map_err(serde::ser::Error::custom)?)
    }
}

/// The same, hidden by this crate's own codec.
struct Nested(Ref<()>);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = encode(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_bytes(&inner.0)
    }
}

// C6: pack would delete the target of a reference that was never reported.
#[test]
fn a_reference_given_to_another_serializer_is_refused() {
    let what = refusal(encode(&(reference(1, HERE), Hidden(reference(2, HERE)))));
    assert!(what.contains("test: of 2 references 1 went through another serializer"), "{what}");

    let what = refusal(encode(&Nested(reference(2, HERE))));
    assert!(what.contains("another serializer"), "{what}");

    assert!(encode(&reference(3, HERE)).is_ok(), "the next value is not blamed for it");
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Skipping {
    always: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sometimes: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    inner: Wide,
}
#[derive(Debug, Serialize, Deserialize)]
struct Wide {
    a: u8,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Number { n: u8 },
}

// C6: a type whose bytes do not decode is refused before its first commit, naming it.
#[test]
fn what_bincode_cannot_read_back_is_refused() {
    let nested = BTreeMap::from([("key", vec![Skipping::default()])]);
    let what = refusal(encode(&nested));
    assert!(what.contains("field 0.0.sometimes: it was skipped"), "{what}");

    assert!(refusal(encode(&Flat { inner: Wide { a: 1 } })).contains("flatten"));
    assert!(refusal(check(&Untagged::Number(1))).contains("untagged"));
    assert!(refusal(check(&Tagged::Number { n: 1 })).contains("internally tagged"));
}

/// Writes its fields in one order, and reads them in another.
#[derive(Debug)]
struct Swapped(u8, u8);

impl Serialize for Swapped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.1, self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Swapped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Swapped, D::Error> {
        <(u8, u8)>::deserialize(deserializer).map(|(a, b)| Swapped(a, b))
    }
}

#[test]
fn a_type_that_reads_other_than_it_writes_is_refused() {
    let what = refusal(check(&vec![Swapped(1, 1), Swapped(1, 2)]));

    assert!(what.starts_with("type test: ") && what.contains("from byte 3 on"), "{what}");
}

/// Says that it has three elements, and gives two.
struct Liar;

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut seq = serializer.serialize_seq(Some(3))?;
        seq.serialize_element(&1u8)?;
        seq.serialize_element(&2u8)?;
        seq.end()
    }
}

#[test]
fn a_sequence_of_another_length_than_announced_is_refused() {
    assert!(refusal(encode(&Liar)).contains("announced 3 parts and gave 2"));
}

#[derive(Debug, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
}

// A variant without content is a level too: when reading, it is not known to be one yet.
#[test]
fn what_can_be_written_nests_no_deeper_than_what_can_be_read() {
    let chain = |levels| (1..levels).fold(Chain::End, |inner, _| Chain::Link(Box::new(inner)));

    check(&chain(MAX_DEPTH)).expect("the deepest chain survives");

    assert!(refusal(encode(&chain(MAX_DEPTH + 1))).contains("nests deeper"));
}

#[derive(Debug, Serialize, Deserialize)]
struct Deep(Option<Box<Deep>>);

fn deep(levels: usize) -> Deep {
    (1..levels).fold(Deep(None), |inner, _| Deep(Some(Box::new(inner))))
}

// Both directions agree on the bound, so that nothing is written that cannot be read.
#[test]
fn nesting_is_bounded_in_both_directions() {
    let most = MAX_DEPTH / 2;

    let (bytes, _) = encoded(&deep(most));
    assert!(decode::<Deep>(&bytes).is_ok());
    check(&deep(most)).expect("the deepest value survives");

    assert!(refusal(encode(&deep(most + 1))).contains("nests deeper"));
    assert!(refusal(decode::<Deep>(&vec![1; 1 << 20])).contains("nests deeper"));
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Roomy {
    numbers: [[u64; 32]; 4],
    texts: [String; 24],
    inner: Vec<Roomy>,
}

// Frames may be large, too: too deep a value of a large type is an error and no overflow of the
// stack, in a thread of the usual 2 MiB.
#[test]
fn a_deep_value_of_a_large_type_does_not_overflow_the_stack() {
    let inside = |inner| Roomy { inner: vec![inner], ..Roomy::default() };
    let deepest = (1..MAX_DEPTH / 2 - 1).fold(Roomy::default(), |inner, _| inside(inner));
    let (bytes, _) = encoded(&deepest);

    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let read = thread.spawn(move || decode::<Roomy>(&bytes)).expect("a thread").join();

    if let Err(error) = read.expect("no panic") {
        assert!(error.to_string().contains("of stack to read"), "{error}");
    }
}

#[test]
fn a_length_beyond_the_bytes_is_refused_before_anything_is_allocated() {
    let mut hostile = encoded(&(1u64 << 60)).0;
    hostile.extend([1; 100]);

    assert!(refusal(decode::<Vec<u64>>(&hostile)).contains("in the 100 bytes left"));
    assert!(refusal(decode::<Vec<()>>(&hostile)).contains("elements in the"));
    assert!(refusal(decode::<HashMap<(), ()>>(&hostile)).contains("elements in the"));
    assert!(refusal(decode::<String>(&hostile)).contains("are missing"));
}

/// Remembers how many elements it was told to make room for.
#[derive(Debug)]
struct Room(Option<usize>);

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Room, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Room;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("units")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Room, A::Error> {
                let room = Room(seq.size_hint());
                while seq.next_element::<()>()?.is_some() {}
                Ok(room)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

// A length that the bytes cannot refute is still no reason to allocate for it.
#[test]
fn no_type_is_told_to_make_room_for_more_elements_than_there_are_bytes() {
    let mut bytes = encoded(&60_000u64).0;
    bytes.push(7);

    let (room, seven): (Room, u8) = decode(&bytes).expect("units take no bytes");

    assert_eq!((room.0, seven), (Some(1), 7));
}

#[test]
fn elements_without_bytes_are_bounded_in_both_directions() {
    let (bytes, _) = encoded(&vec![(); MAX_EMPTY]);
    assert_eq!(decode::<Vec<()>>(&bytes).expect("as many as allowed").len(), MAX_EMPTY);

    assert!(refusal(encode(&vec![(); MAX_EMPTY + 1])).contains("take no bytes"));
    let thrice = vec![vec![(); MAX_EMPTY / 2]; 3];
    assert!(refusal(encode(&thrice)).contains("take no bytes"), "the bound is for the whole value");
}

/// Two sequences of nothing, and never mind what is wrong with them.
#[derive(Debug)]
struct Careless;

impl<'de> Deserialize<'de> for Careless {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Careless, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Careless;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("units, twice")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Careless, A::Error> {
                let _ = seq.next_element::<Vec<()>>();
                let _ = seq.next_element::<Vec<()>>();
                Ok(Careless)
            }
        }
        deserializer.deserialize_tuple(2, Visitor)
    }
}

// C9: who goes on after an error makes nobody panic.
#[test]
fn a_type_that_passes_over_errors_makes_nobody_panic() {
    let (mut bytes, _) = encoded(&(MAX_EMPTY as u64 + 1));
    bytes.extend([1, 0]);

    assert!(refusal(decode::<Careless>(&bytes)).contains("left over"));
}

// C9: bytes beyond the value are an error too: they may be of another version.
#[test]
fn bytes_left_over_are_refused() {
    assert!(refusal(decode::<u8>(&[1, 2, 3])).contains("2 bytes are left over"));
}

// C9: the message leads to the field.
#[test]
fn undecodable_bytes_name_the_type_and_the_field() {
    #[derive(Debug, Deserialize)]
    struct Outer {
        _inner: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    struct Inner {
        _flag: bool,
    }
    let what = refusal(decode::<Outer>(&[2, 1, 9]));

    assert_eq!(what, "type test: field _inner.1._flag: 9 is not a boolean");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: String,
    cents: i64,
}

#[derive(Serialize, Deserialize)]
struct Account0 {
    owner: String,
    euros: i32,
}

impl Persistent for Account {
    const NAME: &'static str = "bank.Account";
    const VERSION: u32 = 1;

    fn upgrade(_: u32, state: &[u8]) -> Result<Account> {
        let old: Account0 = decode_as(state)?;
        Ok(Account { owner: old.owner, cents: i64::from(old.euros) * 100 })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fixed;

impl Persistent for Fixed {
    const NAME: &'static str = "test.Fixed";
}

// C9: `upgrade` reads old versions; a type without one says so.
#[test]
fn upgrade_reads_what_an_older_version_wrote() {
    let state = encoded(&Account0 { owner: "alice".into(), euros: 3 }).0;

    let account = Account::upgrade(0, &state).expect("version 0 is known");

    assert_eq!(account, Account { owner: "alice".into(), cents: 300 });
    let what = refusal(Fixed::upgrade(4, &state));
    assert!(what.contains("test.Fixed: version 4"), "{what}");
    assert!(refusal(Account::upgrade(0, &[])).contains("Account0"));
}

/// Encodes a value, checked where that is due.
fn encode_checked<T>(trips: &RoundTrips, value: &T) -> Result<()>
where
    T: Serialize + DeserializeOwned + 'static,
{
    trips.encode("test", value, HERE, &mut Vec::new(), &mut Vec::new())
}

/// Reads back as it was written only where the number is even.
#[derive(Serialize)]
#[serde(transparent)]
struct Even<const TYPE: u8>(u8);

impl<'de, const TYPE: u8> Deserialize<'de> for Even<TYPE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(|number| Even(number & !1))
    }
}

#[test]
fn the_first_values_of_each_type_are_checked() {
    let trips = RoundTrips::first(2);
    let is_checked = || encode_checked(&trips, &Even::<0>(1)).is_err();

    assert!(is_checked());
    encode_checked(&trips, &Even::<0>(0)).unwrap();
    assert!(is_checked());
    encode_checked(&trips, &Even::<0>(0)).unwrap();
    assert!(!is_checked(), "two were good");

    assert!(encode_checked(&trips, &Even::<1>(1)).is_err(), "each type has its own count");
    let all = RoundTrips::first(u32::MAX);
    (0..100).for_each(|_| encode_checked(&all, &Even::<0>(0)).unwrap());
    assert!(encode_checked(&all, &Even::<0>(1)).is_err());
}

#[test]
fn a_type_that_cannot_be_read_back_is_refused_however_often_it_is_tried() {
    let trips = RoundTrips::first(2);

    for _ in 0..10 {
        assert!(encode_checked(&trips, &Even::<0>(1)).is_err());
    }
}

// Serde numbers the variants that it writes and those that it reads differently where one of them
// is skipped: `Late` is written as 2, which is read as `Last`.
#[test]
fn the_first_value_with_each_variant_is_checked() {
    #[derive(Serialize, Deserialize)]
    enum Gap {
        Early,
        #[serde(skip)]
        #[expect(dead_code, reason = "it is there to be skipped")]
        Skipped,
        Late,
        Last,
    }
    let trips = RoundTrips::first(2);
    (0..10).for_each(|_| encode_checked(&trips, &vec![Gap::Early]).unwrap());

    for gap in [Gap::Late, Gap::Last] {
        assert!(encode_checked(&trips, &vec![Gap::Early, gap]).is_err());
    }
}
