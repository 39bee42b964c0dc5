use crate::Catalogue;

#[test]
fn the_builtin_catalogue_compiles() {
    let catalogue = Catalogue::builtin().unwrap();
    assert_eq!(catalogue.record_types().len(), 2);
}
