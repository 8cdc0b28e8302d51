//! Who is there, and in which room: everything that clients share.
//!
//! Its methods tell those whom a change concerns; the caller tells the client who asked for it. Nothing here waits, so a
//! `RefCell` around it is never borrowed across a wait.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::client::{Client, ClientId, End};
use crate::protocol::Name;

/// The room that everybody is in at first. It is always there.
pub const LOBBY: &str = "lobby";

/// Names that an answer lists; one line for each of many thousands would only fill the queue of who asked.
const LISTED_MAX: usize = 100;

struct Person {
    client: Rc<Client>,
    nick: Name,
    /// The key of the room.
    room: Option<String>,
}

type Members = BTreeMap<ClientId, Rc<Client>>;

pub struct Rooms {
    /// Everybody who has a nickname.
    people: HashMap<ClientId, Person>,
    /// By what nicknames are compared by.
    nicks: BTreeMap<String, ClientId>,
    /// By name in lower case. Rooms but the lobby vanish with their last member.
    rooms: BTreeMap<String, Members>,
    room_max: usize,
}

impl Rooms {
    pub fn new(room_max: usize) -> Rooms {
        Rooms {
            people: HashMap::new(),
            nicks: BTreeMap::new(),
            rooms: BTreeMap::from([(LOBBY.to_owned(), Members::new())]),
            room_max,
        }
    }

    pub fn people(&self) -> usize {
        self.people.len()
    }

    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Lets a client in under a nickname, and into the lobby. Returns what to tell it.
    pub fn enter(&mut self, client: &Rc<Client>, nick: Name) -> Result<String, String> {
        self.take_nick(client.id, &nick)?;
        let greeting = format!("* you are {nick}; /help lists the commands\n");
        let person = Person {
            client: Rc::clone(client),
            nick,
            room: None,
        };
        self.people.insert(client.id, person);
        let joined = self.enter_room(client.id, LOBBY.to_owned());
        Ok(greeting + &joined)
    }

    /// Changes a nickname.
    pub fn rename(&mut self, id: ClientId, nick: Name) -> Result<String, String> {
        self.take_nick(id, &nick)?;
        let person = self.people.get_mut(&id).ok_or(NAMELESS)?;
        let old = std::mem::replace(&mut person.nick, nick.clone());
        if old.folded() != nick.folded() {
            self.nicks.remove(&old.folded());
        }
        let room = person.room.clone();
        self.announce(
            room.as_deref(),
            Some(id),
            &format!("* {old} is now {nick}\n"),
        );
        Ok(format!("* you are now {nick}\n"))
    }

    fn take_nick(&mut self, id: ClientId, nick: &Name) -> Result<(), String> {
        match self.nicks.get(&nick.folded()) {
            Some(&owner) if owner != id => Err(format!("the nickname {nick} is taken")),
            _ => {
                self.nicks.insert(nick.folded(), id);
                Ok(())
            }
        }
    }

    /// Takes somebody from one room to another, which may be new.
    pub fn join(&mut self, id: ClientId, room: &Name) -> Result<String, String> {
        let key = room.folded();
        let old = self.people.get(&id).ok_or(NAMELESS)?.room.clone();
        if old.as_ref() == Some(&key) {
            return Err(format!("you are in {key} already"));
        }
        // The last one in a room takes it along, so to speak.
        let is_freed = |old: &String| old != LOBBY && self.rooms[old].len() == 1;
        let rooms = self.rooms.len() - usize::from(old.as_ref().is_some_and(is_freed));
        if !self.rooms.contains_key(&key) && rooms >= self.room_max {
            return Err("there are too many rooms; join one that exists".to_owned());
        }
        self.leave_room(id, &format!("has gone to {key}"));
        Ok(self.enter_room(id, key))
    }

    pub fn leave(&mut self, id: ClientId) -> Result<String, String> {
        match self.leave_room(id, "has left") {
            Some(room) => Ok(format!("* you have left {room}\n")),
            None => Err(ROOMLESS.to_owned()),
        }
    }

    /// Says a line to the others in the room.
    pub fn say(&self, id: ClientId, text: &str) -> Result<(), String> {
        let person = self.people.get(&id).ok_or(NAMELESS)?;
        let room = person.room.as_deref().ok_or(ROOMLESS)?;
        let line = format!("[{room}] {}: {text}\n", person.nick);
        self.announce(Some(room), Some(id), &line);
        Ok(())
    }

    /// Says a line to one person. Who said it gets the same line, which tells that it has been sent.
    pub fn tell(&self, id: ClientId, to: &Name, text: &str) -> Result<String, String> {
        let person = self.people.get(&id).ok_or(NAMELESS)?;
        let other = self.nicks.get(&to.folded()).map(|id| &self.people[id]);
        let other = other.ok_or_else(|| format!("there is no {to}"))?;
        let line = format!("({} -> {}) {text}\n", person.nick, other.nick);
        if other.client.id != id {
            other.client.send(line.as_str().into());
        }
        Ok(line)
    }

    /// Who is in a room, or in one's own, in the order in which they came.
    pub fn who(&self, id: ClientId, room: Option<&Name>) -> Result<String, String> {
        let room = match room {
            Some(room) => room.folded(),
            None => {
                let person = self.people.get(&id).ok_or(NAMELESS)?;
                person.room.clone().ok_or(ROOMLESS)?
            }
        };
        let members = self.rooms.get(&room);
        let members = members.ok_or_else(|| format!("there is no room {room}"))?;
        let names = members.keys().map(|id| self.people[id].nick.to_string());
        Ok(format!("* in {room}: {}\n", list(names, members.len())))
    }

    /// Which rooms there are.
    pub fn list(&self) -> String {
        let rooms = self.rooms.iter();
        let rooms = rooms.map(|(name, members)| format!("{name} ({})", members.len()));
        format!("* rooms: {}\n", list(rooms, self.rooms.len()))
    }

    /// Forgets a client. `end` is told to the room, but not when the server stops: everybody goes then.
    pub fn remove(&mut self, id: ClientId, end: End) {
        if end != End::Stop {
            self.leave_room(id, &format!("has left ({})", end.reason()));
        } else if let Some(Person {
            room: Some(room), ..
        }) = self.people.get(&id)
            && let Some(members) = self.rooms.get_mut(room)
        {
            members.remove(&id);
        }
        if let Some(person) = self.people.remove(&id) {
            self.nicks.remove(&person.nick.folded());
        }
    }

    fn enter_room(&mut self, id: ClientId, room: String) -> String {
        let person = self.people.get_mut(&id).expect("only people enter rooms");
        person.room = Some(room.clone());
        let (nick, client) = (person.nick.clone(), Rc::clone(&person.client));
        self.announce(Some(&room), None, &format!("* {nick} has joined\n"));
        let members = self.rooms.entry(room.clone()).or_default();
        members.insert(id, client);
        match members.len() - 1 {
            0 => format!("* you are in {room}, alone\n"),
            1 => format!("* you are in {room} with 1 other\n"),
            others => format!("* you are in {room} with {others} others\n"),
        }
    }

    fn leave_room(&mut self, id: ClientId, how: &str) -> Option<String> {
        let person = self.people.get_mut(&id)?;
        let room = person.room.take()?;
        let notice = format!("* {} {how}\n", person.nick);
        let members = self.rooms.get_mut(&room).expect("it has a member");
        members.remove(&id);
        if members.is_empty() && room != LOBBY {
            self.rooms.remove(&room);
        }
        self.announce(Some(&room), None, &notice);
        Some(room)
    }

    fn announce(&self, room: Option<&str>, except: Option<ClientId>, line: &str) {
        let Some(members) = room.and_then(|room| self.rooms.get(room)) else {
            return;
        };
        let line: Rc<str> = line.into();
        for (&id, client) in members {
            if Some(id) != except {
                client.send(Rc::clone(&line));
            }
        }
    }
}

const NAMELESS: &str = "choose a nickname first";
const ROOMLESS: &str = "you are in no room; /list shows them, /join takes you to one";

/// The first names of `count`, and how many more there are.
fn list(names: impl Iterator<Item = String>, count: usize) -> String {
    let mut names: Vec<String> = names.take(LISTED_MAX).collect();
    if count > LISTED_MAX {
        names.push(format!("and {} more", count - LISTED_MAX));
    }
    match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SlowPolicy;

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn enter(rooms: &mut Rooms, id: ClientId, nick: &str) -> Rc<Client> {
        let client = Client::new(id, 1000, SlowPolicy::DropOldest, Rc::default());
        let client = Rc::new(client);
        rooms.enter(&client, name(nick)).expect("it enters");
        client
    }

    /// What a client has been sent. Something must have been.
    fn heard(client: &Client) -> String {
        client.send("".into());
        client
            .next_batch()
            .map_or(String::new(), |batch| batch.text)
    }

    #[test]
    fn nicknames_are_unique_whatever_their_case() {
        let mut rooms = Rooms::new(10);
        let alice = enter(&mut rooms, 1, "Alice");
        let other = Client::new(2, 9, SlowPolicy::DropOldest, Rc::default());
        let refused = rooms.enter(&Rc::new(other), name("aLICE"));
        assert_eq!(refused.unwrap_err(), "the nickname aLICE is taken");
        let bob = enter(&mut rooms, 2, "bob");
        assert!(rooms.rename(2, name("ALICE")).is_err());
        rooms.rename(1, name("ALICE")).expect("it is hers");
        rooms.rename(1, name("carol")).expect("it is free");
        rooms.rename(2, name("alice")).expect("it has become free");
        assert_eq!(heard(&bob), "* Alice is now ALICE\n* ALICE is now carol\n");
        assert_eq!(heard(&alice), "* bob has joined\n* bob is now alice\n");
    }

    #[test]
    fn what_is_said_stays_in_the_room() {
        let mut rooms = Rooms::new(10);
        let [a, b, c] = [(1, "a"), (2, "b"), (3, "c")].map(|(id, n)| enter(&mut rooms, id, n));
        for client in [&a, &b, &c] {
            heard(client);
        }
        assert_eq!(
            rooms.join(3, &name("Rust")).unwrap(),
            "* you are in rust, alone\n"
        );
        rooms.say(1, "hello").unwrap();
        rooms.say(3, "nobody hears this").unwrap();
        assert_eq!(heard(&a), "* c has gone to rust\n");
        assert_eq!(heard(&b), "* c has gone to rust\n[lobby] a: hello\n");
        assert_eq!(heard(&c), "");
        assert_eq!(
            rooms.tell(3, &name("A"), "psst").unwrap(),
            "(c -> a) psst\n"
        );
        assert_eq!(heard(&a), "(c -> a) psst\n");
        assert!(rooms.tell(3, &name("d"), "psst").is_err());
        rooms.leave(1).unwrap();
        assert!(
            rooms.say(1, "x").is_err() && rooms.leave(1).is_err() && rooms.who(1, None).is_err()
        );
    }

    #[test]
    fn rooms_come_and_go_within_the_limit() {
        let mut rooms = Rooms::new(2);
        enter(&mut rooms, 1, "a");
        enter(&mut rooms, 2, "b");
        rooms.join(1, &name("one")).unwrap();
        assert_eq!(rooms.list(), "* rooms: lobby (1), one (1)\n");
        assert!(
            rooms
                .join(2, &name("two"))
                .unwrap_err()
                .contains("too many rooms")
        );
        assert!(rooms.join(1, &name("ONE")).unwrap_err().contains("already"));
        rooms
            .join(1, &name("two"))
            .expect("it leaves one room for another");
        assert_eq!(rooms.list(), "* rooms: lobby (1), two (1)\n");
        rooms.join(2, &name("two")).unwrap();
        assert_eq!(rooms.who(1, None).unwrap(), "* in two: a, b\n");
        assert_eq!(
            rooms.who(1, Some(&name("lobby"))).unwrap(),
            "* in lobby: nobody\n"
        );
        assert!(rooms.who(1, Some(&name("one"))).is_err());
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let mut rooms = Rooms::new(10);
        let alice = enter(&mut rooms, 1, "alice");
        enter(&mut rooms, 2, "bob");
        rooms.join(2, &name("x")).unwrap();
        rooms.join(2, &name("lobby")).unwrap();
        heard(&alice);
        rooms.remove(2, End::Idle);
        rooms.remove(2, End::Idle);
        assert_eq!(heard(&alice), "* bob has left (idle for too long)\n");
        enter(&mut rooms, 3, "bob");
        rooms.remove(3, End::Stop);
        assert_eq!(heard(&alice), "* bob has joined\n");
        assert_eq!((rooms.people(), rooms.rooms()), (1, 1));
        rooms.remove(9, End::Quit);
    }

    #[test]
    fn long_lists_are_cut() {
        let mut rooms = Rooms::new(10);
        for id in 0..LISTED_MAX as u64 + 5 {
            enter(&mut rooms, id, &format!("n{id}"));
        }
        let who = rooms.who(0, None).unwrap();
        assert!(
            who.starts_with("* in lobby: n0, n1, ") && who.ends_with(", n99, and 5 more\n"),
            "{who}"
        );
    }
}
