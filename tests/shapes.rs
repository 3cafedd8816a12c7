//! Laws of shapes: what a type looks like, as text, and records read without the type.

use perennial::codec;
use perennial::shape::{Fields, Scalar, Shape, Value, decode_by_shape};
use perennial::{Error, Ref};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU8;

fn shape<T: DeserializeOwned + 'static>() -> String {
    Shape::of::<T>("test").expect("the type can be read back").to_string()
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode("test", value, 0, &mut bytes, &mut Vec::new()).expect("it can be encoded");
    bytes
}

fn printed<T: Serialize + DeserializeOwned + 'static>(value: &T) -> String {
    let shape = Shape::of::<T>("test").expect("the type can be read back");
    decode_by_shape(&shape, &encoded(value)).expect("the bytes fit the shape").to_string()
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    owner: String,
    cents: i64,
    friends: Vec<Ref<Account>>,
    limits: BTreeMap<String, Option<u32>>,
    address: Address,
    last: Option<Address>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Address {
    street: String,
    point: (f32, f64),
}

#[derive(Serialize, Deserialize)]
enum Expr {
    Add(Box<Expr>, Box<Expr>),
    Not { of: Box<Expr> },
    Call(String, Vec<Expr>),
    Number(i64),
    Nothing,
}

#[derive(Serialize, Deserialize)]
struct Unit;
#[derive(Serialize, Deserialize)]
struct Cents(i64);
#[derive(Serialize, Deserialize)]
struct Tree {
    kids: Vec<Tree>,
    parent: Option<Box<Tree>>,
    mark: Unit,
    cents: Cents,
}

// The grammar, by example.
#[test]
fn a_shape_says_what_serde_says() {
    assert_eq!(
        shape::<Account>(),
        "{owner: str, cents: i64, friends: [Ref], limits: {str => Option<u32>}, \
         address: Address{street: str, point: (f32, f64)}, last: Option<^1>}"
    );
    assert_eq!(shape::<Cents>(), "(i64)");
    assert_eq!(shape::<Unit>(), "()");
    assert_eq!(shape::<(u8, [bool; 2])>(), "(u8, (bool, bool))");
    assert_eq!(shape::<HashSet<char>>(), "[char]");
}

#[test]
fn recursion_is_named_by_the_number_of_the_definition() {
    let expr = "enum {Add(^0, ^0), Not{of: ^0}, Call(str, [^0]), Number(i64), Nothing}";
    assert_eq!(shape::<Expr>(), expr);
    assert_eq!(shape::<Tree>(), "{kids: [^0], parent: Option<^0>, mark: Unit, cents: Cents(i64)}");
    assert_eq!(
        shape::<Vec<Expr>>(),
        format!("[{}]", expr.replace("enum {", "enum Expr {").replace("^0", "^1"))
    );
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
enum Statement {
    If(Box<Condition>, Vec<Statement>),
    Set { name: String, to: Condition },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
enum Condition {
    After(Box<Statement>),
    Both(Box<Condition>, Box<Condition>),
    Flag(bool, Color, Color),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
enum Color {
    Red,
    Mixed(u8, Option<Box<Color>>),
}

#[test]
fn types_that_contain_each_other_have_a_shape() {
    assert_eq!(
        shape::<Statement>(),
        "enum {If(enum Condition {After(^0), Both(^1, ^1), Flag(bool, enum Color {Red, \
         Mixed(u8, Option<^2>)}, ^2)}, [^0]), Set{name: str, to: ^1}}"
    );
}

mod before {
    #[derive(serde::Deserialize)]
    pub struct Thing {
        pub _a: u8,
    }
}

mod after {
    #[derive(serde::Deserialize)]
    pub struct Renamed {
        pub _a: u8,
    }

    #[derive(serde::Deserialize)]
    pub struct Thing {
        pub _inner: super::before::Thing,
    }
}

// C9: the identity of a type is its stored name, not its Rust name.
#[test]
fn renaming_the_rust_type_does_not_change_its_shape() {
    assert_eq!(shape::<before::Thing>(), shape::<after::Renamed>());
}

#[test]
fn types_of_one_name_in_two_modules_are_not_taken_for_each_other() {
    assert_eq!(shape::<after::Thing>(), "{_inner: Thing{_a: u8}}");
}

/// A date that insists on its notation.
struct Date;

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "1970-01-01" => Ok(Date),
            _ => Err(serde::de::Error::custom("not a date")),
        }
    }
}

/// A type that no made-up value satisfies.
#[derive(Debug)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("xyzzy")
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stubborn, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "xyzzy" => Ok(Stubborn),
            _ => Err(serde::de::Error::custom("say the magic word")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Partly {
    before: NonZeroU8,
    list: Vec<Stubborn>,
    maybe: Option<Stubborn>,
    word: Stubborn,
    after: u32,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
struct Aliased {
    #[serde(alias = "amount")]
    cents: i64,
    kind: AliasedKind,
}

#[derive(Deserialize)]
enum AliasedKind {
    #[serde(alias = "Small")]
    Little,
    Big,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
struct Swapped {
    kind: AliasedKind,
    #[serde(alias = "amount")]
    cents: i64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
struct From {
    #[serde(alias = "source")]
    from: i64,
    to: i64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is of interest")]
struct To {
    to: i64,
    #[serde(alias = "source")]
    from: i64,
}

// Serde does not tell a field's name from its alias, but their order. Without the names, fields
// of one kind that changed places would be read one for the other.
#[test]
fn fields_and_variants_with_aliases_that_change_places_change_the_shape() {
    assert_eq!(
        shape::<Aliased>(),
        "{\"0 of amount cents kind\": i64, 1: enum AliasedKind {\"0 of Little Small Big\", 1}}"
    );
    assert_ne!(shape::<Aliased>(), shape::<Swapped>());
    assert_ne!(shape::<From>(), shape::<To>());
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "no value of it exists")]
struct Endless(Box<Endless>);

#[test]
fn a_type_without_values_is_traced_in_bounded_time() {
    assert_eq!(shape::<Endless>(), "(^0)");
}

// What refuses made-up values hides only what comes after it.
#[test]
fn types_that_refuse_values_are_traced_as_far_as_possible() {
    assert_eq!(shape::<(NonZeroU8, Date, Vec<Date>, u8)>(), "(u8, str, [str], u8)");
    assert_eq!(
        shape::<Partly>(),
        "{before: u8, list: [str], maybe: Option<str>, word: str, after: opaque}"
    );

    let before = NonZeroU8::MIN;
    let partly = Partly { before, list: vec![], maybe: None, word: Stubborn, after: 255 };
    assert_eq!(
        printed(&partly),
        "{before: 1, list: [], maybe: None, word: \"xyzzy\", after: opaque 0xfbff00}"
    );
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is of interest")]
enum Untagged {
    Number(u8),
}

#[derive(Deserialize)]
struct HasUntagged {
    _number: u8,
    _inner: Option<Untagged>,
}

// C6: found when the type is first seen, before any value of it exists.
#[test]
fn a_type_that_asks_the_bytes_what_they_are_has_no_shape() {
    let error = Shape::of::<HasUntagged>("app.HasUntagged").expect_err("it cannot be read back");

    assert!(matches!(error, Error::Codec(_)));
    assert!(error.to_string().contains("type app.HasUntagged: bincode cannot read it back"));
}

// Tools print records without the application.
#[test]
fn a_record_is_printed_without_its_type() {
    let address = Address { street: "Main \"1\"".into(), point: (1.5, -0.0) };
    let friends = vec![codec::decode("ref", &[9], 0).expect("a reference")];
    let limits = BTreeMap::from([("day".into(), Some(5)), ("year".into(), None)]);
    let account = Account {
        owner: "alice".into(),
        cents: -30,
        friends,
        limits,
        last: Some(address.clone()),
        address,
    };

    assert_eq!(
        printed(&account),
        "{owner: \"alice\", cents: -30, friends: [Ref(9)], limits: {\"day\" => Some(5), \
         \"year\" => None}, address: Address{street: \"Main \\\"1\\\"\", point: (1.5, -0.0)}, \
         last: Some(Address{street: \"Main \\\"1\\\"\", point: (1.5, -0.0)})}"
    );
    let expr = Expr::Add(
        Box::new(Expr::Not { of: Box::new(Expr::Nothing) }),
        Box::new(Expr::Call("f".into(), vec![Expr::Number(7)])),
    );
    assert_eq!(printed(&expr), "Add(Not{of: Nothing}, Call(\"f\", [Number(7)]))");
}

#[test]
fn json_says_the_same() {
    let shape = "{a: [(str, u8)], b: enum E {X, Y(i8), Z{q: bytes}}, c: {Ref => f64}, d: opaque}";
    let shape = Shape::parse(shape).expect("a shape");
    let bytes =
        encoded(&(vec![("a\n\"", 1u8)], 2u32, "xy", BTreeMap::from([(5u64, f64::NAN)]), 9u8));

    let value = decode_by_shape(&shape, &bytes).expect("bytes of this shape");

    assert_eq!(
        value.to_json(),
        "{\"a\": [[\"a\\u000a\\\"\", 1]], \"b\": {\"Z\": {\"q\": \"7879\"}}, \
         \"c\": [[{\"$ref\": 5}, null]], \"d\": {\"$opaque\": \"09\"}}"
    );
}

#[test]
fn bytes_of_another_shape_are_an_error() {
    let shape = Shape::parse("{a: bool, b: enum E {X}}").expect("a shape");

    for (bytes, what) in [
        (&[2, 0][..], "field 0: 2 is not a boolean"),
        (&[1, 1], "field 1: the enum has no variant 1"),
        (&[1], "field 1: 1 bytes are missing"),
        (&[1, 0, 0], "1 bytes are left over"),
    ] {
        let error = decode_by_shape(&shape, bytes).expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}

// Shapes come from files: they may be made up to hurt.
#[test]
fn hostile_shapes_are_errors() {
    let deep = "[".repeat(100_000);
    for text in ["", "{", "^0", "[^1]", "(u8", "u8 ", "enum{}", "A{a}", "\"a", "x{u8: u8}", &deep] {
        assert!(matches!(Shape::parse(text), Err(Error::InvalidArgument(_))), "{text}");
    }
    let endless = Shape::parse("{a: ^0}").expect("a shape, if of no value");
    assert!(decode_by_shape(&endless, &[]).is_err());

    let doubling = (1..40).fold("A40".to_owned(), |inner, level| {
        let above = 40 - level;
        format!("A{above}{{x: {inner}, y: ^{}}}", above + 1)
    });
    let doubling = Shape::parse(&format!("[{doubling}]")).expect("a shape of many parts");
    let error = decode_by_shape(&doubling, &[1]).expect_err("2^40 parts in no byte");
    assert!(error.to_string().contains("too many parts"));
}

fn name() -> impl Strategy<Value = Box<str>> {
    prop_oneof!["[a-z_][a-z0-9_]{0,5}", any::<String>(), Just("enum".into()), Just("u8".into())]
        .prop_map(String::into_boxed_str)
}

fn fields(inner: impl Strategy<Value = Shape> + Clone) -> impl Strategy<Value = Fields> {
    prop_oneof![
        Just(Fields::Unit),
        vec(inner.clone(), 0..3).prop_map(Fields::Positions),
        vec((name(), inner), 0..3).prop_map(Fields::Names),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        proptest::sample::select(Scalar::ALL.to_vec()).prop_map(Shape::Scalar),
        Just(Shape::Ref),
        Just(Shape::Opaque),
    ];
    leaf.prop_recursive(4, 32, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|shape| Shape::Option(Box::new(shape))),
            inner.clone().prop_map(|shape| Shape::Seq(Box::new(shape))),
            (inner.clone(), inner.clone())
                .prop_map(|(key, value)| Shape::Map(Box::new(key), Box::new(value))),
            vec(inner.clone(), 0..3).prop_map(Shape::Tuple),
            (name(), fields(inner.clone()))
                .prop_map(|(name, fields)| Shape::Struct(Some(name), fields)),
            (name(), vec((name(), fields(inner)), 0..3))
                .prop_map(|(name, variants)| Shape::Enum(Some(name), variants)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_text_of_a_shape_reads_back_as_that_shape(shape in any_shape()) {
        let text = shape.to_string();
        prop_assert_eq!(Shape::parse(&text)?, shape, "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[\\[\\](){}<>^0-9a-zR\", :=]{0,40}") {
        if let Ok(shape) = Shape::parse(&text) {
            prop_assert_eq!(Shape::parse(&shape.to_string())?, shape);
        }
    }

    #[test]
    fn any_bytes_by_any_shape_are_a_value_or_an_error(
        shape in any_shape(),
        bytes in vec(any::<u8>(), 0..60),
    ) {
        if let Ok(value) = decode_by_shape(&shape, &bytes) {
            let _: Value = value.clone();
            prop_assert!(!value.to_json().contains('\n'));
        }
    }
}
