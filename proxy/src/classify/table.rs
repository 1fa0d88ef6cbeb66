//! A bounded map from seeded hashes to small records: set-associative, like a processor's cache.
//!
//! A key belongs to one set of [`WAYS`] slots. A full set makes the table twice as large, up to its
//! bound; from then on the record of the set that was touched longest ago makes place. So all work
//! is constant, memory follows the need, and once grown nothing allocates. Keys come out of a
//! seeded hash: nobody can aim at a set.

/// Slots of a set: one or two cache lines to look at.
const WAYS: usize = 8;
/// Sets of a new table.
const SETS_MIN: usize = 4;

/// What a table keeps.
pub(super) trait Record: Copy + Default {
    /// Whether it still says something at `now_us`; else its slot is free.
    fn is_live(&self, now_us: u64) -> bool;
    /// When it was last touched.
    fn touched_us(&self) -> u64;
}

/// A map of at most `sets_max * WAYS` records.
#[derive(Debug)]
pub(super) struct Table<R> {
    /// [`WAYS`] slots for each set; a power of two of sets.
    slots: Vec<Slot<R>>,
    sets_max: usize,
    /// Live records that made place for others.
    evicted: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot<R> {
    key: Key,
    record: R,
}

/// A seeded hash; zero is no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// The key of a hash.
    pub(super) const fn of(hash: u64) -> Self {
        Self(if hash == 0 { 1 } else { hash })
    }

    /// The hash, never zero.
    pub(super) const fn hash(self) -> u64 {
        self.0
    }

    const fn is_vacant(self) -> bool {
        self.0 == 0
    }
}

impl<R: Record> Table<R> {
    /// An empty table that grows to `records_max` slots, a power of two.
    pub(super) fn new(records_max: usize) -> Self {
        debug_assert!(records_max.is_power_of_two() && SETS_MIN * WAYS <= records_max);
        let slots = vec![Slot { key: Key::default(), record: R::default() }; SETS_MIN * WAYS];
        Self { slots, sets_max: records_max / WAYS, evicted: 0 }
    }

    /// The record of `key`, if it is there and live.
    pub(super) fn get(&self, key: Key, now_us: u64) -> Option<&R> {
        let slot = self.slots[self.set(key)].iter().find(|slot| slot.key == key)?;
        slot.record.is_live(now_us).then_some(&slot.record)
    }

    /// As [`get`](Self::get), to change it.
    pub(super) fn get_mut(&mut self, key: Key, now_us: u64) -> Option<&mut R> {
        let set = self.set(key);
        let slot = self.slots[set].iter_mut().find(|slot| slot.key == key)?;
        slot.record.is_live(now_us).then_some(&mut slot.record)
    }

    /// The live record of `key`, or a new one in its place.
    pub(super) fn get_or_insert(&mut self, key: Key, now_us: u64) -> &mut R {
        let at = self.place(key, now_us);
        let slot = &mut self.slots[at];
        if slot.key != key || !slot.record.is_live(now_us) {
            self.evicted += u64::from(!slot.key.is_vacant() && slot.record.is_live(now_us));
            *slot = Slot { key, record: R::default() };
        }
        &mut slot.record
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: Key) {
        let set = self.set(key);
        if let Some(slot) = self.slots[set].iter_mut().find(|slot| slot.key == key) {
            slot.key = Key::default();
        }
    }

    /// Live records that made place for others.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Where `key` is, or may be put: a free slot, else the one that was touched longest ago.
    fn place(&mut self, key: Key, now_us: u64) -> usize {
        loop {
            let set = self.set(key);
            let begin = set.start;
            let slots = &self.slots[set];
            let own = slots.iter().position(|slot| slot.key == key);
            let is_free = |slot: &Slot<R>| slot.key.is_vacant() || !slot.record.is_live(now_us);
            if let Some(at) = own.or_else(|| slots.iter().position(is_free)) {
                return begin + at;
            }
            if self.slots.len() == self.sets_max * WAYS {
                let oldest = slots.iter().enumerate().min_by_key(|(_, s)| s.record.touched_us());
                return begin + oldest.map_or(0, |(at, _)| at);
            }
            self.grow();
        }
    }

    /// Doubles the sets. Each splits in two, so that all records find a slot.
    fn grow(&mut self) {
        let vacant = Slot { key: Key::default(), record: R::default() };
        let slots = vec![vacant; self.slots.len() * 2];
        for old in std::mem::replace(&mut self.slots, slots) {
            if !old.key.is_vacant() {
                let set = self.set(old.key);
                let free = self.slots[set].iter_mut().find(|slot| slot.key.is_vacant());
                *free.expect("half of a full set fits into a set") = old;
            }
        }
    }

    fn set(&self, key: Key) -> std::ops::Range<usize> {
        let begin = (key.0 as usize & (self.slots.len() / WAYS - 1)) * WAYS;
        begin..begin + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Dated {
        until_us: u64,
        touched_us: u64,
        value: u64,
    }

    impl Record for Dated {
        fn is_live(&self, now_us: u64) -> bool {
            now_us < self.until_us
        }

        fn touched_us(&self) -> u64 {
            self.touched_us
        }
    }

    proptest! {
        /// Scenario: any inserts, updates and removals of 200 keys over time, beside a plain map.
        /// Guarantees: without evictions both are the same; a table within its bound evicts none.
        #[test]
        fn a_table_is_a_map(ops in prop::collection::vec((0_u64..200, any::<u8>(), 0_u64..50), 0..600)) {
            let (mut table, mut map, mut now_us) = (Table::<Dated>::new(4_096), HashMap::<u64, Dated>::new(), 0);
            let key = |n: u64| Key::of(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32));
            for (n, op, later) in ops {
                now_us += later;
                if op < 60 {
                    table.remove(key(n));
                    map.remove(&n);
                } else {
                    let record = table.get_or_insert(key(n), now_us);
                    *record = Dated { until_us: now_us + 300, touched_us: now_us, value: record.value + 1 };
                    let model = map.entry(n).or_insert(Dated::default());
                    let live = now_us < model.until_us;
                    let value = if live { model.value } else { 0 } + 1;
                    *model = Dated { until_us: now_us + 300, touched_us: now_us, value };
                }
                for n in [n, (n + 1) % 200, (n * 7) % 200] {
                    let expected = map.get(&n).filter(|record| record.is_live(now_us));
                    prop_assert_eq!(table.get(key(n), now_us), expected);
                }
            }
            prop_assert_eq!(table.evicted(), 0);
        }
    }

    /// Scenario: ten times as many live records as there is place.
    /// Guarantees: the bound holds, each loss is counted, and the freshest stay.
    #[test]
    fn a_full_table_forgets_the_oldest() {
        let mut table = Table::new(64);
        let key = |n: u64| Key::of(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32));
        for n in 0..640 {
            *table.get_or_insert(key(n), n) = Dated { until_us: u64::MAX, touched_us: n, value: n };
        }
        let there = (0..640).filter(|&n| table.get(key(n), 640).is_some()).count();
        assert!(there <= 64);
        assert_eq!(table.evicted(), 640 - there as u64);
        assert!((630..640).all(|n| table.get(key(n), 640).is_some()));
    }
}
