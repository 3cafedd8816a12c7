//! Laws of types that change, and of bytes that are not theirs.

use crate::support::databases::{everywhere, loose, storages};
use perennial::collections::Element;
use perennial::error::SchemaMismatch;
use perennial::format::TypeDef;
use perennial::shape::Shape;
use perennial::storage::{Batch, Storage};
use perennial::{
    Connection, Database, Error, Oid, Persistent, Ref, Result, Settings, Tid, decode_as,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// The type as it was first stored.
#[derive(Clone, Serialize, Deserialize)]
struct Point0 {
    x: u8,
    next: Option<Ref<Point0>>,
}

impl Persistent for Point0 {
    const NAME: &'static str = "laws.OldPoint";
}

/// The type under its new name.
#[derive(Clone, Serialize, Deserialize)]
struct Renamed {
    x: u8,
    next: Option<Ref<Renamed>>,
}

impl Persistent for Renamed {
    const NAME: &'static str = "laws.Point";
    const ALIASES: &'static [&'static str] = &["laws.OldPoint"];
}

/// The type with another field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point2 {
    x: i64,
    y: i64,
    next: Option<Ref<Point2>>,
}

impl Persistent for Point2 {
    const NAME: &'static str = "laws.Point";
    const VERSION: u32 = 2;
    const ALIASES: &'static [&'static str] = &["laws.OldPoint"];

    fn upgrade(version: u32, state: &[u8]) -> Result<Point2> {
        #[derive(Deserialize)]
        struct Old {
            x: u8,
            next: Option<Ref<Point2>>,
        }
        if version != 0 {
            return Err(Error::other(format!("no point was ever of version {version}")));
        }
        let old: Old = decode_as(state)?;
        Ok(Point2 { x: old.x.into(), y: 0, next: old.next })
    }
}

/// The type with another field and the same version.
#[derive(Clone, Serialize, Deserialize)]
struct Reshaped {
    x: u16,
    next: Option<Ref<Reshaped>>,
}

impl Persistent for Reshaped {
    const NAME: &'static str = "laws.OldPoint";
}

/// A type for any content: each has a shape of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Boxed<T> {
    content: T,
}

impl<T: Element> Persistent for Boxed<T> {
    const NAME: &'static str = "laws.Boxed";

    fn type_name() -> Cow<'static, str> {
        let content = Shape::of::<T>(Self::NAME).unwrap();
        format!("{}<{content}>", Self::NAME).into()
    }
}

/// Two points as the first program stored them: one that refers to the other.
fn old_points(db: &Database) -> (Ref<Point0>, Ref<Point0>) {
    db.transact(|conn| {
        let last = conn.add(Point0 { x: 7, next: None })?;
        Ok((conn.add(Point0 { x: 8, next: Some(last) })?, last))
    })
    .unwrap()
}

fn stored_type(storage: &dyn Storage, oid: Oid) -> Arc<TypeDef> {
    let history = storage.transactions(Tid::ZERO, Tid::MAX).unwrap().rev();
    let records = history.flat_map(|transaction| transaction.unwrap().records);
    let newest = records.filter(|(of, _)| *of == oid).find_map(|(_, revision)| revision).unwrap();
    storage.type_def(newest.type_id).unwrap()
}

// C9, X7
#[test]
fn what_a_generic_type_makes_are_types_of_their_own() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let refuse = |number: Ref<Boxed<u8>>, conn: &Connection| {
            let error = conn.get(loose::<Boxed<String>>(number.oid())).unwrap_err().to_string();
            assert!(error.contains("laws.Boxed<u8>") && error.contains("laws.Boxed<str>"));
        };

        let (number, text) = db
            .transact(|conn| {
                let number = conn.add(Boxed { content: 7u8 })?;
                refuse(number, conn);
                Ok((number, conn.add(Boxed { content: "seven".to_owned() })?))
            })
            .unwrap();

        assert_eq!(&*stored_type(&*storage, number.oid()).name, "laws.Boxed<u8>");
        assert_eq!(&*stored_type(&*storage, text.oid()).name, "laws.Boxed<str>");
        db.transact(|conn| {
            refuse(number, conn);
            assert_eq!(conn.get(text)?.content, "seven");
            Ok(())
        })
        .unwrap();
    }
}

// C9
#[test]
fn an_alias_reads_old_names() {
    everywhere(|db| {
        let (point, last) = old_points(db);
        let point: Ref<Renamed> = loose(point.oid());

        let read = db.view(|view| view.get(point)).unwrap();

        assert_eq!(read.x, 8);
        assert_eq!(read.next.map(|next| next.oid()), Some(last.oid()));
        assert_eq!(db.view(|view| view.get(read.next.unwrap())).unwrap().x, 7);
    });
}

// C9
#[test]
fn an_upgrade_reads_old_versions_and_stores_the_new_one_at_the_next_change() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let (point, last) = old_points(&db);
        let point: Ref<Point2> = loose(point.oid());

        let read = db.view(|view| view.get(point)).unwrap();
        assert_eq!((read.x, read.y), (8, 0));
        assert_eq!(stored_type(&*storage, point.oid()).version, 0, "reading stores nothing");
        db.transact(|conn| conn.modify(point, |point| point.y = 1)).unwrap();

        let stored = stored_type(&*storage, point.oid());
        assert_eq!((&*stored.name, stored.version), ("laws.Point", 2));
        let read = db.view(|view| view.get(point)).unwrap();
        assert_eq!((read.x, read.y), (8, 1));
        let next = read.next.expect("the reference came along");
        assert_eq!(next.oid(), last.oid());
        assert_eq!(db.view(|view| view.get(next)).unwrap().x, 7);
        let other = Database::in_memory().unwrap();
        let error = other.view(|view| view.get(next)).unwrap_err();
        assert!(matches!(error, Error::ForeignRef { .. }), "the reference knows its database");
    }
}

// C9
#[test]
fn a_changed_shape_is_told_before_the_first_wrong_value() {
    everywhere(|db| {
        let (point, _) = old_points(db);
        let point: Ref<Reshaped> = loose(point.oid());

        let read = db.view(|view| view.get(point).map(drop)).unwrap_err();
        let written = db.transact(|conn| conn.add(Reshaped { x: 1, next: None })).unwrap_err();
        let changed = db.transact(|conn| conn.modify(point, |_| ())).unwrap_err();

        for error in [read, written, changed] {
            let Error::Schema(mismatch) = &error else { panic!("{error}") };
            let SchemaMismatch::ShapeChanged { type_name, version, stored, here } = &**mismatch
            else {
                panic!("{error}");
            };
            assert_eq!((&**type_name, *version), ("laws.OldPoint", 0));
            assert_eq!(
                (&**stored, &**here),
                ("{x: u8, next: Option<Ref>}", "{x: u16, next: Option<Ref>}")
            );
        }
    });
}

// C9
#[test]
fn an_alias_with_another_shape_is_told_too() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Other {
        x: u16,
        next: Option<Ref<Other>>,
    }
    impl Persistent for Other {
        const NAME: &'static str = "laws.Other";
        const ALIASES: &'static [&'static str] = &["laws.OldPoint"];
    }
    everywhere(|db| {
        let (point, _) = old_points(db);

        let error = db.view(|view| view.get(loose::<Other>(point.oid())).map(drop)).unwrap_err();

        assert!(error.to_string().contains("laws.OldPoint version 0 changed"), "{error}");
    });
}

// C9
#[test]
fn an_unknown_version_is_told_with_both() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Point3(u8);
    impl Persistent for Point3 {
        const NAME: &'static str = "laws.Point";
        const VERSION: u32 = 3;
    }
    everywhere(|db| {
        let newer = db.transact(|conn| conn.add(Point3(1))).unwrap();
        let middle = db.transact(|conn| conn.add(Point2 { x: 1, y: 2, next: None })).unwrap();
        let without_upgrade: Ref<Point3> = loose(middle.oid());

        let from_above = db.view(|view| view.get(loose::<Point2>(newer.oid()))).unwrap_err();
        let from_below = db.view(|view| view.get(without_upgrade).map(drop)).unwrap_err();

        for (error, versions, why) in [
            (from_above, (newer.oid(), 3, 2), "this program is older"),
            (from_below, (middle.oid(), 2, 3), "it has no upgrade"),
        ] {
            let Error::Schema(mismatch) = &error else { panic!("{error}") };
            let SchemaMismatch::UnknownVersion { oid, type_name, stored, known, .. } = &**mismatch
            else {
                panic!("{error}");
            };
            assert_eq!(((*oid, *stored, *known), &**type_name), (versions, "laws.Point"));
            assert!(error.to_string().contains(why), "{error}");
        }
    });
}

/// Stores these bytes as an object of this type.
fn plant(storage: &dyn Storage, definition: &TypeDef, data: &[u8]) -> Oid {
    let type_id = storage.intern(definition).unwrap();
    let oid = storage.new_oid().unwrap();
    let mut batch = Batch::default();
    batch.put((oid, Tid::ZERO, false), type_id, &[], data);
    storage.commit(&Arc::new(batch)).unwrap();
    oid
}

// C9
#[test]
fn undecodable_bytes_are_told_with_the_object() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let shape = |shape: Arc<Shape>| shape.to_string().into();
        let new = shape(Shape::of::<Point2>("laws.Point").unwrap());
        let new = TypeDef { name: "laws.Point".into(), version: 2, shape: new };
        let old = shape(Shape::of::<Point0>("laws.OldPoint").unwrap());
        let old = TypeDef { name: "laws.OldPoint".into(), version: 0, shape: old };

        for definition in [new, old] {
            let oid = plant(&*storage, &definition, &[1]);
            let broken: Ref<Point2> = loose(oid);

            let error = db.view(|view| view.get(broken)).unwrap_err();

            let Error::Codec(failure) = &error else { panic!("{error}") };
            assert_eq!((failure.oid, failure.tid), (Some(oid), Some(db.last_tid())), "{error}");
        }
    }
}
