;; A program, a library that uses its memory, and the shim and its filler that join them with the host.
(component
  (import "host" (instance $host
    (export "name" (func (result string)))
    (export "log" (func (param "text" string) (param "number" u32)))))

  (core module $program
    (@name "program")
    (import "library" "write" (func $library_write (param i32) (result i32)))
    (import "host" "name" (func $name (param i32)))
    (memory (export "memory") 1)
    (global (export "base") i32 (i32.const 64))
    (global $stack (export "stack") (mut i32) (i32.const 500))
    (table (export "table") 8 funcref)
    (elem (i32.const 1) func $answer)
    (data (i32.const 16) "hello ")
    (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (i32.const 22))
    (func $answer (result i32)
      (call $name (i32.const 8))
      (global.set $stack (i32.add (global.get $stack) (i32.const 7)))
      (call $library_write (i32.add (i32.const 6) (i32.load (i32.const 12)))))
    (func (export "run") (result i32)
      (call_indirect (result i32) (i32.const 1))))

  (core module $library
    (@name "library")
    (import "env" "memory" (memory 1))
    (import "env" "base" (global $base i32))
    (import "env" "stack" (global $stack (mut i32)))
    (import "env" "table" (table 8 funcref))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (global $next i32 (i32.add (global.get $base) (i32.const 4)))
    (elem (offset (i32.const 2)) func $twice)
    (data (global.get $base) "\2a\00\00\00\03\00\00\00")
    (func $twice (param i32) (result i32)
      (i32.mul (local.get 0) (i32.const 2)))
    (func $write (export "write") (param $length i32) (result i32)
      (call $log (i32.const 16) (local.get $length) (global.get $stack))
      (i32.add
        (i32.load (global.get $next))
        (call_indirect (param i32) (result i32) (i32.load (global.get $base)) (i32.const 2)))))

  (core module $shim
    (table (export "$imports") 3 3 funcref)
    (func (export "0") (param i32) (result i32)
      (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))
    (func (export "1") (param i32)
      (call_indirect (param i32) (local.get 0) (i32.const 1)))
    (func (export "2") (param i32 i32 i32)
      (call_indirect (param i32 i32 i32) (local.get 0) (local.get 1) (local.get 2) (i32.const 2))))

  (core module $filler
    (import "" "$imports" (table 3 3 funcref))
    (import "" "0" (func (param i32) (result i32)))
    (import "" "1" (func (param i32)))
    (import "" "2" (func (param i32 i32 i32)))
    (elem (i32.const 0) func 0 1 2))

  (core instance $shim (instantiate $shim))
  (core instance $program (instantiate $program
    (with "library" (instance (export "write" (func $shim "0"))))
    (with "host" (instance (export "name" (func $shim "1"))))))
  (alias core export $program "memory" (core memory $memory))
  (core instance $library (instantiate $library
    (with "env" (instance
      (export "memory" (memory $memory))
      (export "base" (global $program "base"))
      (export "stack" (global $program "stack"))
      (export "table" (table $program "table"))))
    (with "host" (instance (export "log" (func $shim "2"))))))
  (core func $name (canon lower (func $host "name")
    (memory $memory) (realloc (func $program "cabi_realloc"))))
  (core func $log (canon lower (func $host "log") (memory $memory)))
  (core instance $filler (instantiate $filler
    (with "" (instance
      (export "$imports" (table $shim "$imports"))
      (export "0" (func $library "write"))
      (export "1" (func $name))
      (export "2" (func $log))))))
  (type $run (func (result u32)))
  (func $run (type $run) (canon lift (core func $program "run")))
  (export "run" (func $run)))
