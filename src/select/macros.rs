//! The macro that is written around the arms.
//!
//! It is expanded in four steps, by rules that begin with `@` and their name:
//!
//! - `@parse` and `@body` take the arms apart, one after the other, into `{[operation (arguments) pattern] {body}}`.
//! - `@start` makes the arms, each bound by a `match` inside of the one before: so the arguments are evaluated once, in order,
//!   and what they borrow from lives until an arm has won.
//! - `@results` asks the arms what they have won, into a nested tuple of options.
//! - `@dispatch` runs the body of the one that has won. By then the arms are gone, and the bodies stand in no loop and no
//!   closure of the macro's.

/// Waits for the first of several operations and runs the code for it. An expression; its value is that of the body.
///
/// Each arm reads `operation(arguments) -> pattern => body,`, where the operation is a function of the module
/// [`select`](mod@crate::select), and the pattern, which may be left out, gets its result. As in a `match`, the comma may be left
/// out after a block.
///
/// - The arguments of all arms are evaluated once, from first to last, before anything is waited for. Those of arms that
///   do not win are dropped before the body runs.
/// - If one arm or more can win at once, one of them does; each is equally likely, whatever the order. If none can and
///   there is an arm `default => body`, that one runs, without having waited or let others run. Otherwise the green thread waits.
///   When several things happen before it gets its turn, the first one wins.
/// - The operations of the arms that did not win have not taken place.
/// - `break`, `continue`, `return` and `?` in bodies mean what they mean around the macro.
/// - `select! {}` waits for ever.
///
/// A kill, or a [`timeout`](crate::timeout) around the macro, is met before any arm has won; while the code waits, it wins
/// against all arms or against none.
///
/// # Panics
///
/// In the root context, when a deadlock is found.
///
/// # Examples
///
/// ```
/// use greenhub::select;
/// use std::time::Duration;
///
/// fn first_of(mut workers: [Option<greenhub::thread::JoinHandle<u32>>; 2]) -> Option<u32> {
///     let [left, right] = &mut workers;
///     select! {
///         join(left) -> result => result.ok(),
///         join(right) -> result => Some(result.ok()? + 1),
///         after(Duration::from_secs(60)) => None,
///     }
/// }
///
/// let slow = greenhub::spawn(|| { greenhub::sleep(Duration::from_secs(60)); 0 });
/// assert_eq!(first_of([Some(slow), Some(greenhub::spawn(|| 6))]), Some(7));
/// ```
///
/// Not waiting at all:
///
/// ```
/// let handle = greenhub::spawn(|| ());
/// let is_finished = greenhub::select! {
///     wait(&handle) => true,
///     default => false,
/// };
/// assert!(!is_finished);
/// ```
///
/// # Differences from crossbeam's macro
///
/// The operations are those of green threads. `default(duration)` is one of the arms that may win, not what remains.
/// Arguments are evaluated in any case.
#[macro_export]
macro_rules! select {
    () => { $crate::select::forever() };
    ($($arms:tt)+) => { $crate::__select!(@parse [] [] $($arms)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // The arms, one after the other: [those before] [the default] the rest.
    (@parse $arms:tt [] ) => { $crate::__select!(@run $arms [] false) };
    (@parse $arms:tt [$default:tt] ) => { $crate::__select!(@run $arms [$default] true) };
    (@parse $arms:tt $default:tt default => $($rest:tt)+) => {
        $crate::__select!(@body $arms $default [default] $($rest)+)
    };
    (@parse $arms:tt $default:tt default($time:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $arms $default [after ($time) _] $($rest)+)
    };
    (@parse $arms:tt $default:tt default($time:expr $(,)?) -> $pattern:pat => $($rest:tt)+) => {
        $crate::__select!(@body $arms $default [after ($time) $pattern] $($rest)+)
    };
    (@parse $arms:tt $default:tt $operation:ident $arguments:tt => $($rest:tt)+) => {
        $crate::__select!(@body $arms $default [$operation $arguments _] $($rest)+)
    };
    (@parse $arms:tt $default:tt $operation:ident $arguments:tt -> $pattern:pat => $($rest:tt)+) => {
        $crate::__select!(@body $arms $default [$operation $arguments $pattern] $($rest)+)
    };
    (@parse $arms:tt $default:tt $($rest:tt)+) => {
        ::core::compile_error!(
            "an arm of `select!` reads `operation(arguments) -> pattern => body,` or `default => body,`"
        )
    };

    // The body of an arm whose head has been read.
    (@body $arms:tt $default:tt $head:tt $body:block, $($rest:tt)*) => {
        $crate::__select!(@add $arms $default $head {$body} $($rest)*)
    };
    (@body $arms:tt $default:tt $head:tt $body:block $($rest:tt)*) => {
        $crate::__select!(@add $arms $default $head {$body} $($rest)*)
    };
    (@body $arms:tt $default:tt $head:tt $body:expr, $($rest:tt)*) => {
        $crate::__select!(@add $arms $default $head {$body} $($rest)*)
    };
    (@body $arms:tt $default:tt $head:tt $body:expr) => {
        $crate::__select!(@add $arms $default $head {$body})
    };
    (@add $arms:tt [] [default] $body:tt $($rest:tt)*) => {
        $crate::__select!(@parse $arms [$body] $($rest)*)
    };
    (@add $arms:tt [$first:tt] [default] $body:tt $($rest:tt)*) => {
        ::core::compile_error!("`select!` takes one `default` arm at the most")
    };
    (@add [$($arms:tt)*] $default:tt $head:tt $body:tt $($rest:tt)*) => {
        $crate::__select!(@parse [$($arms)* {$head $body}] $default $($rest)*)
    };

    (@run $arms:tt $default:tt $or_default:tt) => {
        match { let results = $crate::__select!(@start [] $arms $or_default); results } {
            results => $crate::__select!(@dispatch results $arms $default),
        }
    };

    (@start $names:tt [{[$operation:ident $arguments:tt $($pattern:tt)+] $body:tt} $($rest:tt)*] $or_default:tt) => {
        match $crate::select::$operation $arguments {
            mut arm => $crate::__select!(@start [$names arm] [$($rest)*] $or_default),
        }
    };
    (@start $names:tt [] $or_default:tt) => { $crate::__select!(@wait [] $names $or_default) };

    // The names come as nested pairs, the last one outermost.
    (@wait [$($names:ident)*] [$before:tt $name:ident] $or_default:tt) => {
        $crate::__select!(@wait [$name $($names)*] $before $or_default)
    };
    (@wait [$($names:ident)*] [] $or_default:tt) => {{
        $crate::select::run(&mut [$(&mut $names),*], $or_default);
        $crate::__select!(@results $($names)*)
    }};

    (@results) => { () };
    (@results $name:ident $($rest:ident)*) => {
        ($crate::select::Arm::into_output($name), $crate::__select!(@results $($rest)*))
    };

    (@dispatch $results:ident [{[$operation:ident $arguments:tt $pattern:pat] $body:tt} $($rest:tt)*] $default:tt) => {
        match $results {
            (::core::option::Option::Some(result), _) => match result { $pattern => $body },
            (::core::option::Option::None, rest) => $crate::__select!(@dispatch rest [$($rest)*] $default),
        }
    };
    (@dispatch $results:ident [] [$default:tt]) => { match $results { () => $default } };
    (@dispatch $results:ident [] []) => { $crate::select::none_has_won($results) };
}
