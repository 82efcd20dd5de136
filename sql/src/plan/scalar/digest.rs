//! SHA-1 and SHA-2, as FIPS 180-4 has them: names for texts, as hexadecimal digits (Flink's and ksqlDB's). Of BYTEA, SHA-2 is
//! BYTEA, as PostgreSQL has it.

use arrow::datatypes::DataType;

use super::take::Takes::{Int, TextOrBytes};
use super::{Answer, Line, Value, line, text};

pub(super) const LINES: &[Line] = &[
    line("sha1", &[TextOrBytes], text, |args| digits(args, sha1)),
    line("sha224", &[TextOrBytes], same, |args| {
        same_kind(args, sha224)
    }),
    line("sha256", &[TextOrBytes], same, |args| {
        same_kind(args, sha256)
    }),
    line("sha384", &[TextOrBytes], same, |args| {
        same_kind(args, sha384)
    }),
    line("sha512", &[TextOrBytes], same, |args| {
        same_kind(args, sha512)
    }),
    line("sha2", &[TextOrBytes, Int], text, sha2),
];

fn same(args: &[DataType]) -> DataType {
    args.first().cloned().unwrap_or(DataType::Utf8View)
}

fn bytes_of<'a>(value: Option<&Value<'a>>) -> Option<&'a [u8]> {
    match value? {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn digits<'a>(args: &[Value<'a>], digest: fn(&[u8]) -> Vec<u8>) -> Result<Answer<'a>, String> {
    let Some(bytes) = bytes_of(args.first()) else {
        return Ok(Answer::Null);
    };
    let digits = digest(bytes).into_iter();
    let digits: String = digits.map(|byte| format!("{byte:02x}")).collect();
    Ok(Answer::text(digits))
}

fn same_kind<'a>(args: &[Value<'a>], digest: fn(&[u8]) -> Vec<u8>) -> Result<Answer<'a>, String> {
    match args {
        [Value::Bytes(bytes)] => Ok(Answer::Bytes(digest(bytes))),
        args => digits(args, digest),
    }
}

/// Flink's: the digest of so many bits.
fn sha2<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let digest = match args.get(1) {
        Some(Value::Int(224)) => sha224,
        Some(Value::Int(0 | 256)) => sha256,
        Some(Value::Int(384)) => sha384,
        Some(Value::Int(512)) => sha512,
        _ => return Err("a digest has 224, 256, 384 or 512 bits".to_owned()),
    };
    digits(args, digest)
}

/// The first 64 bits behind the point of the square roots of the first 16 primes.
const SQUARE_ROOTS: [u64; 16] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];

/// The first 64 bits behind the point of the cube roots of the first 80 primes.
const CUBE_ROOTS: [u64; 80] = [
    0x428a_2f98_d728_ae22,
    0x7137_4491_23ef_65cd,
    0xb5c0_fbcf_ec4d_3b2f,
    0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538,
    0x59f1_11f1_b605_d019,
    0x923f_82a4_af19_4f9b,
    0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242,
    0x1283_5b01_4570_6fbe,
    0x2431_85be_4ee4_b28c,
    0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f,
    0x80de_b1fe_3b16_96b1,
    0x9bdc_06a7_25c7_1235,
    0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2,
    0xefbe_4786_384f_25e3,
    0x0fc1_9dc6_8b8c_d5b5,
    0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275,
    0x4a74_84aa_6ea6_e483,
    0x5cb0_a9dc_bd41_fbd4,
    0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab,
    0xa831_c66d_2db4_3210,
    0xb003_27c8_98fb_213f,
    0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2,
    0xd5a7_9147_930a_a725,
    0x06ca_6351_e003_826f,
    0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc,
    0x2e1b_2138_5c26_c926,
    0x4d2c_6dfc_5ac4_2aed,
    0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de,
    0x766a_0abb_3c77_b2a8,
    0x81c2_c92e_47ed_aee6,
    0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364,
    0xa81a_664b_bc42_3001,
    0xc24b_8b70_d0f8_9791,
    0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218,
    0xd699_0624_5565_a910,
    0xf40e_3585_5771_202a,
    0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8,
    0x1e37_6c08_5141_ab53,
    0x2748_774c_df8e_eb99,
    0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63,
    0x4ed8_aa4a_e341_8acb,
    0x5b9c_ca4f_7763_e373,
    0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc,
    0x78a5_636f_4317_2f60,
    0x84c8_7814_a1f0_ab72,
    0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28,
    0xa450_6ceb_de82_bde9,
    0xbef9_a3f7_b2c6_7915,
    0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c,
    0xd186_b8c7_21c0_c207,
    0xeada_7dd6_cde0_eb1e,
    0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba,
    0x0a63_7dc5_a2c8_98a6,
    0x113f_9804_bef9_0dae,
    0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84,
    0x32ca_ab7b_40c7_2493,
    0x3c9e_be0a_15c9_bebc,
    0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6,
    0x597f_299c_fc65_7e2a,
    0x5fcb_6fab_3ad6_faec,
    0x6c44_198c_4a47_5817,
];

/// The upper half of a word.
fn upper(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The first eight, or the second.
fn roots(second: bool) -> [u64; 8] {
    let from = if second { 8 } else { 0 };
    std::array::from_fn(|place| SQUARE_ROOTS[from + place])
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded(bytes, 64).chunks_exact(64) {
        let mut words = words(block, 80);
        for place in 16..80 {
            let before = [3, 8, 14, 16].map(|back| words[place - back]);
            words[place] = before.iter().fold(0, |all, word| all ^ word).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (place, word) in words.iter().enumerate() {
            let (mixed, root) = match place / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc_u32),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let sum = (a.rotate_left(5).wrapping_add(mixed))
                .wrapping_add(e)
                .wrapping_add(root)
                .wrapping_add(*word);
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (word, sum) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(sum);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn sha224(bytes: &[u8]) -> Vec<u8> {
    // The lower halves of those of SHA-384.
    let mut digest = of_32_bits(bytes, roots(true).map(|root| root as u32));
    digest.truncate(28);
    digest
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    of_32_bits(bytes, roots(false).map(upper))
}

fn sha384(bytes: &[u8]) -> Vec<u8> {
    let mut digest = of_64_bits(bytes, roots(true));
    digest.truncate(48);
    digest
}

fn sha512(bytes: &[u8]) -> Vec<u8> {
    of_64_bits(bytes, roots(false))
}

fn of_32_bits(bytes: &[u8], mut state: [u32; 8]) -> Vec<u8> {
    for block in padded(bytes, 64).chunks_exact(64) {
        let mut words = words(block, 64);
        for place in 16..64 {
            let (near, far) = (words[place - 2], words[place - 15]);
            let near = near.rotate_right(17) ^ near.rotate_right(19) ^ near >> 10;
            let far = far.rotate_right(7) ^ far.rotate_right(18) ^ far >> 3;
            words[place] = (near.wrapping_add(words[place - 7]))
                .wrapping_add(far)
                .wrapping_add(words[place - 16]);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (word, root) in words.iter().zip(CUBE_ROOTS) {
            let of_e = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let of_a = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let one = (h.wrapping_add(of_e))
                .wrapping_add(e & f ^ !e & g)
                .wrapping_add(upper(root))
                .wrapping_add(*word);
            let two = of_a.wrapping_add(a & b ^ a & c ^ b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(one));
            (d, c, b, a) = (c, b, a, one.wrapping_add(two));
        }
        for (word, sum) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(sum);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn of_64_bits(bytes: &[u8], mut state: [u64; 8]) -> Vec<u8> {
    for block in padded(bytes, 128).chunks_exact(128) {
        let words_of = block.chunks_exact(8);
        let mut words: Vec<u64> = words_of
            .map(|word| word.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
            .collect();
        words.resize(80, 0);
        for place in 16..80 {
            let (near, far) = (words[place - 2], words[place - 15]);
            let near = near.rotate_right(19) ^ near.rotate_right(61) ^ near >> 6;
            let far = far.rotate_right(1) ^ far.rotate_right(8) ^ far >> 7;
            words[place] = (near.wrapping_add(words[place - 7]))
                .wrapping_add(far)
                .wrapping_add(words[place - 16]);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (word, root) in words.iter().zip(CUBE_ROOTS) {
            let of_e = e.rotate_right(14) ^ e.rotate_right(18) ^ e.rotate_right(41);
            let of_a = a.rotate_right(28) ^ a.rotate_right(34) ^ a.rotate_right(39);
            let one = (h.wrapping_add(of_e))
                .wrapping_add(e & f ^ !e & g)
                .wrapping_add(root)
                .wrapping_add(*word);
            let two = of_a.wrapping_add(a & b ^ a & c ^ b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(one));
            (d, c, b, a) = (c, b, a, one.wrapping_add(two));
        }
        for (word, sum) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(sum);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The bytes with their number of bits at the end of the last block.
fn padded(bytes: &[u8], block: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    // The number has an eighth of a block, more than its bytes in one of 128.
    while padded.len() % block != block - block / 8 {
        padded.push(0);
    }
    padded.resize(padded.len() + block / 8 - 8, 0);
    padded.extend(((bytes.len() as u64).wrapping_mul(8)).to_be_bytes());
    padded
}

fn words(block: &[u8], count: usize) -> Vec<u32> {
    let words = block.chunks_exact(4);
    let mut words: Vec<u32> = words
        .map(|word| word.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        .collect();
    words.resize(count, 0);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, digest: fn(&[u8]) -> Vec<u8>) -> String {
        match digits(&[Value::Text(text)], digest) {
            Ok(Answer::Text(digits)) => digits.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The standard's own examples, and some that are as long as a block, or nearly.
    #[test]
    fn digests_are_those_of_the_standard() {
        let (block, nearly) = ("a".repeat(128), "a".repeat(115));
        assert_eq!(
            told("abc", sha1),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(told("", sha1), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(
            told(&block, sha1),
            "ad5b3fdbcb526778c2839d2f151ea753995e26a0"
        );
        assert_eq!(
            told("abc", sha224),
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"
        );
        assert_eq!(
            told("", sha224),
            "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"
        );
        assert_eq!(
            told(&block, sha224),
            "39873a2441c56608137850f4c54dde157710b9a2b83c8bdc756dd643"
        );
        assert_eq!(
            told("abc", sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            told("", sha256),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            told(&block, sha256),
            "6836cf13bac400e9105071cd6af47084dfacad4e5e302c94bfed24e013afb73e"
        );
        assert_eq!(
            told("abc", sha384),
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
        );
        assert_eq!(
            told("", sha384),
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"
        );
        assert_eq!(
            told(&block, sha384),
            "edb12730a366098b3b2beac75a3bef1b0969b15c48e2163c23d96994f8d1bef760c7e27f3c464d3829f56c0d53808b0b"
        );
        assert_eq!(
            told("abc", sha512),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
        assert_eq!(
            told("", sha512),
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
        );
        assert_eq!(
            told(&block, sha512),
            "b73d1929aa615934e61a871596b3f3b33359f42b8175602e89f7e06e5f658a243667807ed300314b95cacdd579f3e33abdfbe351909519a846d465c59582f321"
        );
        assert_eq!(
            told(&nearly, sha512),
            "eaa30f93760743ac7d0a6cb8ed5ef3b30c59097bc44d0ec337344301deba9fb92b20c488d55de415f6aaed0df4925b42894b81d2e1cde89d91ec7f6cc67262b4"
        );
    }
}
