use super::*;

fn ticket() -> Ticket {
    Ticket::of(KeyPin([7; 32]), Zeroizing::new(*b"0123456789abcdef")).unwrap()
}

#[test]
fn text_is_89_characters_and_reads_back_in_both_cases() {
    let text = ticket().reveal();
    assert_eq!(text.len(), 89);
    assert!(text.starts_with("floe1") && text.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(*text, text.to_lowercase());
    assert_eq!(text.parse::<Ticket>().unwrap(), ticket());
    assert_eq!(format!(" {}\n", text.to_uppercase()).parse::<Ticket>().unwrap(), ticket());
}

#[test]
fn a_wrong_character_is_noticed_everywhere() {
    let text = ticket().reveal();
    for nth in 0..text.len() {
        let mut wrong = text.as_bytes().to_vec();
        wrong[nth] = if wrong[nth] == b'a' { b'b' } else { b'a' };
        let fault = String::from_utf8(wrong).unwrap().parse::<Ticket>().unwrap_err();
        assert_eq!(fault.code, Code::Usage, "at {nth}");
    }
    for wrong in ["", "floe1", "floe2abc", &text[..88], &format!("{}a", *text), "floe1é"] {
        assert!(wrong.parse::<Ticket>().is_err());
    }
}

#[test]
fn last_character_holds_four_zero_bits() {
    let text = ticket().reveal();
    let last = text.as_bytes()[88];
    assert!(matches!(last, b'a' | b'q'), "52 bytes leave one bit in the last digit");
    let mut wrong = text.to_string();
    wrong.pop();
    wrong.push(char::from(last + 1));
    assert!(wrong.parse::<Ticket>().is_err());
}

#[test]
fn base32_and_ed25519_are_those_of_the_standards() {
    // RFC 4648 section 10, without padding.
    assert_eq!(BASE32_NOPAD.encode(b"foobar"), "MZXW6YTBOI");
    // RFC 8032 section 7.1, test 2.
    let seed = data_encoding::HEXLOWER
        .decode(b"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
        .unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let public = data_encoding::HEXLOWER.encode(pair.public_key().as_ref());
    assert_eq!(public, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signature = data_encoding::HEXLOWER.encode(pair.sign(&[0x72]).as_ref());
    assert_eq!(
        signature,
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    );
}

#[test]
fn keys_and_ids_are_derived_as_the_protocol_says() {
    let seed = blake3::derive_key("floe/1 ticket signing key", b"0123456789abcdef");
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    assert_eq!(ticket().public(), pair.public_key().as_ref());
    let id = blake3::derive_key("floe/1 ticket id", pair.public_key().as_ref());
    assert_eq!(ticket().id().0, id[..16]);
    // Golden: whoever writes another client compares with these.
    assert_eq!(ticket().id().to_string().len(), 32);
}

#[test]
fn signs_what_its_public_half_verifies() {
    let signature = ticket().sign(b"message").unwrap();
    assert!(is_signed(&ticket().public(), b"message", &signature));
    assert!(!is_signed(&ticket().public(), b"messagE", &signature));
    let other = Ticket::generate(KeyPin([7; 32])).unwrap();
    assert!(!is_signed(&other.public(), b"message", &signature));
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", ticket());
    assert_eq!(shown, format!("Ticket {{ id: TicketId({}), .. }}", ticket().id()));
}
