//! A function in Rust: a program that prints.

fn main() {
    let query = std::env::var("QUERY_STRING").unwrap_or_default();
    println!("Content-Type: text/plain\n\nhello from Rust, {query}");
}
