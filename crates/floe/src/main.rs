//! floe, the program: all of it but its heap's settings is in the library beside this file.

// What is shipped has no bug on purpose.
const _: () = assert!(!floe_types::planted::POSSIBLE);

mod heap; // where memory comes from

fn main() -> ! {
    heap::set_up();
    let status = floe::run(std::env::args_os());
    floe::exit(status)
}
