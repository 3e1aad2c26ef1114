//! Refused `CloudEvents`, one test for each rule.

use super::*;

#[test]
fn data_and_data_base64_exclude_each_other() {
    let both = |data, base64| with(&format!(r#""data":{data},"data_base64":{base64}"#));
    assert_eq!(
        wrong(both("1", "\"AA==\"")),
        one("data_base64", Code::Repeated)
    );
    assert_eq!(
        wrong(both("null", "\"\"")),
        one("data_base64", Code::Repeated)
    );
    assert!(both("1", "null").is_ok());
    for base64 in ["\"AA\"", "\"A\"", "\"-_==\"", "\"AA ==\"", "7", "{}"] {
        let event = with(&format!("\"data_base64\":{base64}"));
        assert_eq!(
            wrong(event),
            one("data_base64", Code::WrongType),
            "{base64}"
        );
    }
}

#[test]
fn another_version_is_refused_and_is_the_only_violation() {
    let version = |version| {
        wrong(parse(&format!(
            r#"{{"specversion":{version},"type":7,"A":{{}}}}"#
        )))
    };
    assert_eq!(version("\"0.3\""), one("specversion", Code::Unsupported));
    assert_eq!(version("\"1.0.2\""), one("specversion", Code::Unsupported));
    assert_eq!(
        version("1.0")[1],
        ("specversion".to_owned(), Code::WrongType)
    );
    let message = parse(r#"{"specversion":"0.3"}"#).unwrap_err().remove(0);
    assert_eq!(
        message.to_string(),
        r#"specversion: is "0.3"; only CloudEvents 1.0 is supported"#
    );
}

#[test]
fn every_violation_is_reported_not_only_the_first() {
    let event = parse(
        r#"{"id":"","source":7,"specversion":null,"time":"now","my-name":1,"Up":1,"":1,"id":"2","subject":""}"#,
    );
    let field = |name: &str, code| (name.to_owned(), code);
    assert_eq!(
        wrong(event),
        [
            field("my-name", Code::Unknown),
            field("Up", Code::Unknown),
            field("", Code::Unknown),
            field("id", Code::Repeated),
            field("specversion", Code::Missing),
            field("type", Code::Missing),
            field("source", Code::WrongType),
            field("id", Code::Empty),
            field("time", Code::NotRfc3339),
            field("subject", Code::Empty),
        ]
    );
    assert_eq!(wrong(parse("7")), one("", Code::WrongType));
    assert_eq!(
        wrong(with(r#""data":1,"data":1"#)),
        one("data", Code::Repeated)
    );
    for name in ["datacontenttype", "dataschema", "subject"] {
        assert_eq!(
            wrong(with(&format!("\"{name}\":\"\""))),
            one(name, Code::Empty)
        );
        assert_eq!(
            wrong(with(&format!("\"{name}\":1"))),
            one(name, Code::WrongType)
        );
    }
}

#[test]
fn an_attribute_is_a_string_a_boolean_or_an_integer_of_32_bits() {
    for right in ["-2147483648", "2147483647", "0", "true", "\"\"", "\"😀\""] {
        let kept = format!(
            r#"{{"specversion":"1.0","x":"{}"}}"#,
            right.trim_matches('"')
        );
        assert_eq!(payload_with(&format!("\"x\":{right}")), kept);
    }
    assert_eq!(
        payload_with(r#""x":null,"time":null"#),
        r#"{"specversion":"1.0"}"#
    );
    for (value, code) in [
        ("2147483648", Code::OutOfRange),
        ("-2147483649", Code::OutOfRange),
        ("1.0", Code::WrongType),
        ("1e2", Code::WrongType),
        ("[]", Code::WrongType),
        ("{}", Code::WrongType),
        (r#""\n""#, Code::WrongType),
        (r#""\u009f""#, Code::WrongType),
        (r#""\ufdd0""#, Code::WrongType),
        (r#""\ud83f\udfff""#, Code::WrongType),
        (r#""\ud800""#, Code::WrongType),
    ] {
        assert_eq!(
            wrong(with(&format!("\"x\":{value}"))),
            one("x", code),
            "{value}"
        );
    }
}
