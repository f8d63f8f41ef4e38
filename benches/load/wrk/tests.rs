//! What `wrk` prints is read right, and complaints are never read over.

use super::{Load, read};

const HEAD: &str = "\
Running 5s test @ http://127.0.0.1:8080/hello
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.50ms    1.10ms  20.00ms   90.00%
    Req/Sec     4.50k   100.00     5.00k    80.00%
  22500 requests in 5.00s, 3.20MB read
";
const TAIL: &str = "\
Requests/sec:   4498.75
Transfer/sec:    655.36KB
Received: 22500 answers, 3375100 bytes
";

#[test]
fn clean_run_is_read() {
    let load = read(&format!("{HEAD}{TAIL}")).unwrap();
    assert_eq!(load, Load { requests: 22_500, bytes: 3_375_100, requests_per_second: 4498.75 });
}

#[test]
fn answers_of_another_size_are_refused() {
    let load = Load { requests: 100, bytes: 15_020, requests_per_second: 20.0 };
    // The last 20 bytes are those of an answer that had not ended.
    load.check(150, 1).unwrap();
    for size in [149, 151] {
        let refused = load.check(size, 0).unwrap_err().to_string();
        assert!(refused.ends_with(&format!("expected {size} bytes each")), "{refused}");
    }
}

#[test]
fn wrong_answers_are_refused() {
    for complaint in
        ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 7\n"]
    {
        let refused = read(&format!("{HEAD}{complaint}{TAIL}")).unwrap_err().to_string();
        assert_eq!(refused, format!("wrong answers under load: {}", complaint.trim()));
    }
}

#[test]
fn output_without_answers_is_refused() {
    assert!(read("").is_err());
    assert!(read("Requests/sec: 0.00\nReceived: 0 answers, 0 bytes\n").is_err());
}
