//! True code tables for invented records: who builds what where, how plates look, which places there are.
//!
//! Manufacturer identifiers as assigned under ISO 3780 (SAE, listed by NHTSA),
//! places by INEGI (CVEGEO) and the Census Bureau (FIPS), plates as the states issue them.

/// A vehicle that exists in the streets of both nations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    /// World manufacturer identifier: three characters.
    pub(super) wmi: &'static str,
    pub(super) make: &'static str,
    pub(super) model: &'static str,
    pub(super) body: Body,
}

/// Body style, as the two nations write it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    Car,
    Pickup,
    Utility,
    Tractor,
    Motorcycle,
}

impl Body {
    pub(super) const fn text(self, spanish: bool) -> &'static str {
        match (self, spanish) {
            (Self::Car, _) => "SEDAN",
            (Self::Pickup, false) => "PICKUP",
            (Self::Pickup, true) => "CAMIONETA",
            (Self::Utility, _) => "SUV",
            (Self::Tractor, false) => "TRUCK TRACTOR",
            (Self::Tractor, true) => "TRACTOCAMION",
            (Self::Motorcycle, false) => "MOTORCYCLE",
            (Self::Motorcycle, true) => "MOTOCICLETA",
        }
    }
}

const fn m(wmi: &'static str, make: &'static str, model: &'static str, body: Body) -> Model {
    Model { wmi, make, model, body }
}

pub(super) const MODELS: &[Model] = &[
    m("1FT", "Ford", "F-150", Body::Pickup),
    m("1FM", "Ford", "Explorer", Body::Utility),
    m("3FA", "Ford", "Fusion", Body::Car),
    m("1G1", "Chevrolet", "Malibu", Body::Car),
    m("1GC", "Chevrolet", "Silverado", Body::Pickup),
    m("3GC", "Chevrolet", "Silverado", Body::Pickup),
    m("3GN", "Chevrolet", "Equinox", Body::Utility),
    m("1GT", "GMC", "Sierra", Body::Pickup),
    m("3GT", "GMC", "Sierra", Body::Pickup),
    m("1HG", "Honda", "Accord", Body::Car),
    m("3HG", "Honda", "Fit", Body::Car),
    m("5FN", "Honda", "Pilot", Body::Utility),
    m("5J6", "Honda", "CR-V", Body::Utility),
    m("1N4", "Nissan", "Altima", Body::Car),
    m("3N1", "Nissan", "Versa", Body::Car),
    m("3N6", "Nissan", "NP300", Body::Pickup),
    m("1N6", "Nissan", "Frontier", Body::Pickup),
    m("3VW", "Volkswagen", "Jetta", Body::Car),
    m("1VW", "Volkswagen", "Passat", Body::Car),
    m("5YJ", "Tesla", "Model 3", Body::Car),
    m("7SA", "Tesla", "Model Y", Body::Utility),
    m("4T1", "Toyota", "Camry", Body::Car),
    m("5TD", "Toyota", "Highlander", Body::Utility),
    m("5TF", "Toyota", "Tundra", Body::Pickup),
    m("3TM", "Toyota", "Tacoma", Body::Pickup),
    m("3TY", "Toyota", "Tacoma", Body::Pickup),
    m("1C6", "Ram", "1500", Body::Pickup),
    m("3C6", "Ram", "2500", Body::Pickup),
    m("1C4", "Jeep", "Grand Cherokee", Body::Utility),
    m("3C4", "Dodge", "Journey", Body::Utility),
    m("5NP", "Hyundai", "Elantra", Body::Car),
    m("3KP", "Kia", "Rio", Body::Car),
    m("3MZ", "Mazda", "3", Body::Car),
    m("1FU", "Freightliner", "Cascadia", Body::Tractor),
    m("3AK", "Freightliner", "Cascadia", Body::Tractor),
    m("1XK", "Kenworth", "T680", Body::Tractor),
    m("1HD", "Harley-Davidson", "Sportster", Body::Motorcycle),
];

/// Model years 2010 to 2026, by position 10 of the VIN (49 CFR 565.15).
pub(super) const YEARS: &[(char, u32)] = &[
    ('A', 2010),
    ('B', 2011),
    ('C', 2012),
    ('D', 2013),
    ('E', 2014),
    ('F', 2015),
    ('G', 2016),
    ('H', 2017),
    ('J', 2018),
    ('K', 2019),
    ('L', 2020),
    ('M', 2021),
    ('N', 2022),
    ('P', 2023),
    ('R', 2024),
    ('S', 2025),
    ('T', 2026),
];

/// English and Spanish.
pub(super) const COLOURS: &[(&str, &str)] = &[
    ("WHITE", "BLANCO"),
    ("BLACK", "NEGRO"),
    ("GRAY", "GRIS"),
    ("SILVER", "PLATA"),
    ("RED", "ROJO"),
    ("BLUE", "AZUL"),
    ("GREEN", "VERDE"),
    ("BROWN", "CAFE"),
];

/// A firearm as it is made: maker, model, calibre as people write it, type, country.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arm {
    pub(super) make: &'static str,
    pub(super) model: &'static str,
    pub(super) calibre: &'static str,
    pub(super) kind: &'static str,
    pub(super) country: &'static str,
    pub(super) barrel_mm: u32,
    /// The maker's serial numbers: `A` a letter, `0` a digit, anything else itself.
    pub(super) serial: &'static str,
}

const fn a(
    make: &'static str,
    model: &'static str,
    calibre: &'static str,
    kind: &'static str,
    country: &'static str,
    barrel_mm: u32,
    serial: &'static str,
) -> Arm {
    Arm { make, model, calibre, kind, country, barrel_mm, serial }
}

pub(super) const ARMS: &[Arm] = &[
    a("Glock", "17", "9x19", "pistol", "AT", 114, "AAAA000"),
    a("Glock", "19", "9x19", "pistol", "AT", 102, "AAAA000"),
    a("Beretta", "92FS", "9mm Parabellum", "pistol", "IT", 125, "A00000A"),
    a("Colt", "Government", ".45 ACP", "pistol", "US", 127, "70A00000"),
    a("Colt", "Government", ".38 Super", "pistol", "US", 127, "38SS00000"),
    a("Smith & Wesson", "M&P40", ".40 S&W", "pistol", "US", 108, "AAA0000"),
    a("Smith & Wesson", "686", ".357 Magnum", "revolver", "US", 102, "AAA0000"),
    a("Ruger", "SR9", "9mm", "pistol", "US", 105, "330-00000"),
    a("Ruger", "10/22", ".22 LR", "rifle", "US", 470, "820-00000"),
    a("Taurus", "G2C", "9mm Luger", "pistol", "BR", 83, "TLA00000"),
    a("Taurus", "82", ".38 Special", "revolver", "BR", 102, "AA000000"),
    a("Springfield Armory", "XD-9", "9x19", "pistol", "HR", 102, "XD000000"),
    a("SIG Sauer", "P320", "9mm Luger", "pistol", "US", 119, "58A000000"),
    a("CZ", "75 B", "9x19", "pistol", "CZ", 120, "A000000"),
    a("Heckler & Koch", "USP", ".45 ACP", "pistol", "DE", 112, "25-000000"),
    a("FN", "Five-seveN", "5.7x28", "pistol", "BE", 122, "386000000"),
    a("Norinco", "MAK-90", "7.62x39", "rifle", "CN", 415, "00000000"),
    a("Romarm", "WASR-10", "7.62x39", "rifle", "RO", 414, "1-00000-05"),
    a("Century Arms", "RAS47", "7.62x39", "rifle", "US", 420, "47-000000"),
    a("Bushmaster", "XM15-E2S", ".223 Remington", "rifle", "US", 406, "L000000"),
    a("Colt", "M4", "5.56x45", "rifle", "US", 370, "LE000000"),
    a("Barrett", "M82A1", ".50 BMG", "rifle", "US", 737, "AA000000"),
    a("Remington", "870", "12 gauge", "shotgun", "US", 457, "AA00000A"),
    a("Mossberg", "500", "12 gauge", "shotgun", "US", 470, "U000000"),
];

pub(super) const FINISHES: &[(&str, &str)] = &[("BLACK", "NEGRO"), ("BLUED", "PAVON"), ("STAINLESS", "INOXIDABLE")];

/// How an agency's state or region looks to the generator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region {
    /// Municipalities (`MX-` and CVEGEO) or counties (`US-` and FIPS).
    pub(super) places: &'static [&'static str],
    /// Issuer and form of plates: `A` a letter, `0` a digit, `[XY]` one letter from X to Y.
    pub(super) plates: &'static [(&'static str, &'static str)],
}

/// Baja California: Ensenada, Mexicali, Tecate, Tijuana, Playas de Rosarito. Its plates begin AGA to CYZ.
pub(super) const BAJA_CALIFORNIA: Region = Region {
    places: &["MX-02001", "MX-02002", "MX-02003", "MX-02004", "MX-02005"],
    plates: &[("MX-BCN", "B[AZ]A000A"), ("MX-BCN", "A[GZ]A000A"), ("MX-BCS", "D[AD]A000A")],
};

/// The federal prosecutor works everywhere: Juárez, Acuña, Piedras Negras, Torreón, Guadalajara, Monterrey, Reynosa,
/// Nuevo Laredo, Matamoros, Nogales, San Luis Río Colorado, Iztapalapa.
pub(super) const MEXICO: Region = Region {
    places: &[
        "MX-08037", "MX-05002", "MX-05025", "MX-05035", "MX-14039", "MX-19039", "MX-28032", "MX-28027", "MX-28022",
        "MX-26043", "MX-26055", "MX-09007",
    ],
    plates: &[("MX-CHH", "E[AS]A000A"), ("MX-COA", "F[AN]A000A"), ("MX-BCN", "C[AX]A000A")],
};

/// Texas: El Paso, Harris, Hidalgo, Webb, Cameron, Bexar, Dallas, Maverick, Val Verde.
pub(super) const TEXAS: Region = Region {
    places: &[
        "US-48141", "US-48201", "US-48215", "US-48479", "US-48061", "US-48029", "US-48113", "US-48323", "US-48465",
    ],
    plates: &[("US-TX", "[BT]AA0000")],
};

/// California: San Diego, Los Angeles, Imperial, San Bernardino, Riverside.
pub(super) const CALIFORNIA: Region = Region {
    places: &["US-06073", "US-06037", "US-06025", "US-06071", "US-06065"],
    plates: &[("US-CA", "[68]AAA000"), ("US-CA", "00000A0")],
};
